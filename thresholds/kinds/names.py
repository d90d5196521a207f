"""Names that the rules know: a small list of our own, by what is named."""

from thresholds.kinds.words import listed

# What a name can be taken for; a name is exchanged for another of its row.
NAMES: dict[str, frozenset[str]] = {
    "country": frozenset(
        {
            "Argentina", "Australia", "Austria", "Belgium", "Brazil", "Canada", "Chile", "China",
            "Cuba", "Denmark", "Egypt", "England", "Finland", "France", "Germany", "Greece",
            "India", "Indonesia", "Iran", "Ireland", "Israel", "Italy", "Japan", "Kenya",
            "Mexico", "Morocco", "Nepal", "Netherlands", "Nigeria", "Norway", "Pakistan", "Peru",
            "Poland", "Portugal", "Russia", "Scotland", "Spain", "Sweden", "Switzerland",
            "Thailand", "Ukraine", "Vietnam",
        }
    ),
    "city": frozenset(
        {
            "Amsterdam", "Athens", "Baghdad", "Bangkok", "Barcelona", "Beijing", "Berlin",
            "Boston", "Brussels", "Cairo", "Chicago", "Delhi", "Detroit", "Dublin", "Geneva",
            "Havana", "Istanbul", "Jerusalem", "Kabul", "Lagos", "Lima", "Lisbon", "London",
            "Los Angeles", "Madrid", "Melbourne", "Miami", "Moscow", "Mumbai", "Munich",
            "Nairobi", "New York", "Oslo", "Paris", "Prague", "Rome", "San Francisco", "Seattle",
            "Seoul", "Shanghai", "Stockholm", "Sydney", "Tokyo", "Toronto", "Venice", "Vienna",
            "Warsaw",
        }
    ),
    "nationality": frozenset(
        {
            "American", "Australian", "Brazilian", "British", "Canadian", "Chinese", "Dutch",
            "Egyptian", "French", "German", "Greek", "Indian", "Irish", "Israeli", "Italian",
            "Japanese", "Kenyan", "Mexican", "Polish", "Russian", "Spanish", "Swedish", "Thai",
            "Tibetan", "Turkish", "Ukrainian",
        }
    ),
    "landmark": frozenset(
        {
            "Big Ben", "Brandenburg Gate", "Brooklyn Bridge", "Eiffel Tower", "Golden Gate Bridge",
            "Statue of Liberty", "Sydney Opera House", "Taj Mahal", "Tower Bridge", "White House",
        }
    ),
    "river": frozenset({"Danube", "Ganges", "Mississippi", "Nile", "Rhine", "Seine", "Thames"}),
    "car maker": frozenset(
        {"Audi", "BMW", "Ferrari", "Ford", "Honda", "Mercedes", "Tesla", "Toyota", "Volkswagen"}
    ),
    "maker": frozenset({"Apple", "Dell", "Lenovo", "Nokia", "Panasonic", "Samsung", "Sony"}),
    "airline": frozenset(
        {
            "Air France", "British Airways", "Delta Air Lines", "Lufthansa", "Qantas",
            "Southwest Airlines", "Thai Airways", "Turkish Airlines", "United Airlines",
        }
    ),
}  # fmt: skip
# Two or three capitalised words of which the first is one of these name a person.
FIRST_NAMES = frozenset(
    listed(
        "Alan Alexander Alice Amanda Andrea Andrew Angela Anna Anthony Barack Barbara Ben "
        "Bernie Bill Boris Brian Carlos Carol Charles Charlotte Chris Christian Christine "
        "Claire Daniel David Diana Donald Edward Elena Elizabeth Emma Emmanuel Eric Eva Frank "
        "George Hannah Harry Helen Henry Hillary Ivan Jack Jacob James Jane Jason Jeff Jennifer "
        "Jessica Jim Joe John Jose Joseph Juan Julia Karen Kate Kevin Laura Lee Linda Lisa "
        "Louis Lucy Luis Maria Mark Martin Marty Mary Matthew Michael Michelle Mike Mohamed "
        "Nancy Nicole Olivia Oscar Patricia Patrick Paul Peter Rachel Ralph Richard Robert "
        "Roger Ronald Rosa Sam Sarah Scott Sophia Stephen Steve Susan Teresa Theresa Thomas Tim "
        "Tom Tony Victor Victoria Vladimir Walter William"
    )
)
TITLES = frozenset(listed("Mr Mrs Ms Dr President Senator Queen King Prince Princess Chancellor"))
# Whom a person is exchanged for: nobody in particular.
PEOPLE_NAMES = (
    "Anna Berg", "Carlos Medina", "Daniel Novak", "Elena Rossi", "Frank Miller", "Helen Carter",
    "John Walker", "Laura Schmidt", "Maria Lopez", "Peter Hansen", "Susan Clarke", "Tom Becker",
)  # fmt: skip
