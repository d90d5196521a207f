"""The words that the rules know: small lists of our own, English, of what photos show."""


def listed(text: str) -> tuple[str, ...]:
    """The words of a text."""
    return tuple(text.split())


NUMBERS = dict(
    zip(listed("one two three four five six seven eight nine ten"), range(1, 11), strict=True)
)
NUMBER_WORDS = {value: word for word, value in NUMBERS.items()}

# Colours, each with those that nobody takes for it.
COLOURS = {
    "red": listed("blue green white black yellow"),
    "blue": listed("red yellow orange white pink"),
    "green": listed("red purple orange white pink"),
    "yellow": listed("blue purple black red green"),
    "orange": listed("blue green purple white black"),
    "purple": listed("yellow green orange white"),
    "pink": listed("green blue black yellow"),
    "brown": listed("blue green purple white"),
    "black": listed("red yellow white green pink"),
    "white": listed("black red blue green purple"),
    "grey": listed("red yellow green pink"),
    "gray": listed("red yellow green pink"),
    "beige": listed("black red blue green purple"),
    "tan": listed("black blue green purple"),
    "silver": listed("red green purple yellow"),
    "golden": listed("blue green black purple"),
}
SIZES = {
    "big": listed("tiny"),
    "large": listed("tiny"),
    "huge": listed("tiny"),
    "giant": listed("tiny"),
    "gigantic": listed("tiny"),
    "enormous": listed("tiny"),
    "massive": listed("tiny"),
    "small": listed("huge"),
    "tiny": listed("huge"),
    "little": listed("huge"),
    "tall": listed("short"),
    "short": listed("tall"),
    "long": listed("short"),
    "wide": listed("narrow"),
    "narrow": listed("wide"),
}
MATERIALS = {
    "wooden": listed("metal glass plastic"),
    "metal": listed("wooden glass"),
    "plastic": listed("wooden metal"),
    "brick": listed("wooden glass"),
    "stone": listed("wooden plastic"),
    "concrete": listed("wooden glass"),
    "cement": listed("wooden glass"),
    "steel": listed("wooden"),
    "marble": listed("wooden plastic"),
    "leather": listed("wooden"),
}
# Said of the same thing: where a caption has one, another of the row is no mistake.
LOOK_ALIKE = (
    frozenset(listed("red orange pink maroon reddish")),
    frozenset(listed("brown tan beige golden wooden")),
    frozenset(listed("white beige silver cream grey gray off-white")),
    frozenset(listed("blue purple turquoise teal")),
    frozenset(listed("green teal turquoise lush grassy grass tree trees")),
    frozenset(listed("yellow golden blonde orange")),
    frozenset(listed("black dark night")),
    frozenset(listed("grey gray silver metal metallic steel stainless")),
    frozenset(listed("big large huge giant gigantic enormous massive tall long")),
    frozenset(listed("small tiny little short narrow miniature mini")),
    frozenset(listed("brick stone concrete cement marble rock")),
)

PEOPLE = frozenset(
    listed(
        "man woman men women boy girl boys girls child children kid kids baby toddler person "
        "people lady ladies guy guys gentleman male female males females player players family "
        "couple toddlers babies adult adults teen teenager teenagers crowd group league guys "
        "one ones"
    )
)

# What captions of photos name, one by one; plurals are made by rule or by IRREGULAR.
NOUNS = frozenset(
    listed(
        # people
        "man woman boy girl child kid baby toddler person lady guy gentleman player pitcher "
        "catcher batter umpire skateboarder skier surfer snowboarder rider cyclist bicyclist "
        "chef cook baker worker customer officer policeman soldier farmer student teacher "
        "dancer singer musician bride groom tourist driver fisherman doctor nurse clown cowboy "
        "vendor couple family crowd "
        # animals
        "dog puppy poodle cat kitten horse pony cow bull calf sheep lamb goat pig elephant bear "
        "giraffe zebra lion tiger monkey deer rabbit squirrel bird duck goose swan seagull gull "
        "pigeon parrot owl eagle vulture peacock turkey chicken rooster fish shark whale "
        "dolphin turtle snake frog butterfly bee camel donkey panda fox wolf mouse canary "
        "parakeet "
        # things that move
        "car truck bus van taxi train tram trolley motorcycle motorbike scooter bicycle bike "
        "boat ship ferry canoe kayak sailboat airplane plane jet biplane seaplane helicopter "
        "wagon cart trailer tractor carriage skateboard surfboard snowboard sled kite ball "
        "balloon frisbee "
        # indoors
        "table desk chair couch sofa bench bed crib lamp mirror sink toilet bathtub tub shower "
        "cabinet closet shelf bookcase drawer dresser refrigerator fridge oven stove microwave "
        "toaster kettle pot pan bowl plate cup mug glass bottle vase fork knife spoon tray "
        "basket box bag backpack suitcase umbrella clock phone cellphone laptop computer "
        "keyboard monitor television tv camera book newspaper magazine pen pencil pillow "
        "blanket towel curtain rug carpet candle flower rose plant tree bush leaf toy doll "
        "teddy racket racquet bat glove helmet hat cap shirt jacket coat dress suit tie scarf "
        "shoe sneaker boot bucket ladder door window wall floor ceiling room kitchen bathroom "
        "bedroom hallway office classroom "
        # food
        "pizza sandwich burger hamburger cake cupcake pie donut doughnut cookie apple banana "
        "orange lemon strawberry carrot salad hotdog egg pancake waffle dessert meal slice "
        "platter "
        # outdoors
        "house home building tower church temple castle barn cabin hut tent bridge road street "
        "path sidewalk driveway tunnel station airport terminal garage store shop restaurant "
        "hotel stadium park garden playground yard lawn field meadow pasture forest farm hill "
        "mountain valley cliff rock river stream lake pond pool ocean sea beach island harbor "
        "dock pier fence gate statue fountain sign pole post hydrant barrel log star heart moon "
        "cloud flag court ramp runway tarmac crosswalk intersection highway track railing ledge"
    )
)
IRREGULAR = {
    "man": "men",
    "woman": "women",
    "child": "children",
    "person": "people",
    "lady": "ladies",
    "gentleman": "gentlemen",
    "policeman": "policemen",
    "fisherman": "fishermen",
    "fish": "fish",
    "sheep": "sheep",
    "deer": "deer",
    "goose": "geese",
    "mouse": "mice",
    "wolf": "wolves",
    "calf": "calves",
    "shelf": "shelves",
    "leaf": "leaves",
    "knife": "knives",
}


def plural(noun: str) -> str:
    """The plural of a singular noun of the list."""
    if noun in IRREGULAR:
        return IRREGULAR[noun]
    if noun.endswith(("s", "x", "ch", "sh")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"


PLURALS = {plural(noun): noun for noun in sorted(NOUNS)}

DETERMINERS = frozenset(listed("a an the"))
PRONOUNS = frozenset(
    listed(
        "he she it they him her them his hers its it's their theirs himself herself itself "
        "themselves i we you my our your us me"
    )
)
PREPOSITIONS = frozenset(
    listed(
        "on in at by near with without of from to into onto under underneath below beneath "
        "above over behind beside besides between among through across along around down up off "
        "atop inside outside against towards toward during before after about for next left "
        "right past amid within like as aboard upon out via per"
    )
)
CONJUNCTIONS = frozenset(
    listed("and or but while as that which who whose where when because so than then if")
)
AUXILIARIES = frozenset(
    listed(
        "is are was were be been being am has have had do does did can could will would may "
        "might must should there's"
    )
)
ADVERBS = frozenset(listed("here there together outdoors indoors today now alone away"))
VAGUE = frozenset(
    listed(
        "several many some few group groups crowd crowds bunch herd herds flock lots fleet "
        "number numerous multiple various row rows pile stack lot variety assortment collection"
    )
)
# Words that are in captions whatever they are about.
FUNCTION_WORDS = (
    DETERMINERS
    | PRONOUNS
    | CONJUNCTIONS
    | AUXILIARIES
    | (PREPOSITIONS - {"left", "right", "above", "below", "over", "under", "without"})
    | frozenset(
        listed(
            "this that these those there here some any other another very just also together each "
            "only its s t top front side middle photo picture image view shot close see image"
        )
    )
)
# What a caption says of itself instead of what it shows.
PICTURES = frozenset(
    listed(
        "photo photograph picture image view shot closeup close-up close portrait painting "
        "drawing cartoon scene interior display illusion look diorama reflection section "
        "overview"
    )
)
NEGATIONS = frozenset(
    listed(
        "no not none nobody nothing never neither nor without cannot can't isn't aren't doesn't "
        "don't didn't wasn't weren't won't lacks lacking missing empty hardly barely"
    )
)

# A subject does it to an object, or at a place, and not the other way round.
TRANSITIVE = {
    "ride": ("rides", "riding"),
    "hold": ("holds", "holding"),
    "carry": ("carries", "carrying"),
    "eat": ("eats", "eating"),
    "drive": ("drives", "driving"),
    "pull": ("pulls", "pulling"),
    "push": ("pushes", "pushing"),
    "wear": ("wears", "wearing"),
    "throw": ("throws", "throwing"),
    "hit": ("hits", "hitting"),
    "kick": ("kicks", "kicking"),
    "feed": ("feeds", "feeding"),
    "catch": ("catches", "catching"),
    "swing": ("swings", "swinging"),
    "use": ("uses", "using"),
    "cut": ("cuts", "cutting"),
    "read": ("reads", "reading"),
    "fly": ("flies", "flying"),
    "tow": ("tows", "towing"),
    "herd": ("herds", "herding"),
    "clean": ("cleans", "cleaning"),
    "cook": ("cooks", "cooking"),
    "bite": ("bites", "biting"),
    "serve": ("serves", "serving"),
    "chase": ("chases", "chasing"),
}
INTRANSITIVE = {
    "sit": ("sits", "sitting"),
    "stand": ("stands", "standing"),
    "lie": ("lies", "lying"),
    "lay": ("lays", "laying"),
    "sleep": ("sleeps", "sleeping"),
    "rest": ("rests", "resting"),
    "walk": ("walks", "walking"),
    "run": ("runs", "running"),
    "jump": ("jumps", "jumping"),
    "drive": ("drives", "driving"),
    "travel": ("travels", "traveling"),
    "fly": ("flies", "flying"),
    "float": ("floats", "floating"),
    "sail": ("sails", "sailing"),
    "swim": ("swims", "swimming"),
    "graze": ("grazes", "grazing"),
    "play": ("plays", "playing"),
    "hang": ("hangs", "hanging"),
    "lean": ("leans", "leaning"),
    "ride": ("rides", "riding"),
    "skate": ("skates", "skating"),
    "climb": ("climbs", "climbing"),
}
PASSIVE = frozenset(listed("parked placed mounted perched seated located hung set stopped"))
# Which of two is where: swapped, it is something else. "Next to" and "and" are not among them.
PLACES = tuple(
    tuple(phrase.split())
    for phrase in (
        "on top of",
        "in the back of",
        "in front of",
        "to the left of",
        "to the right of",
        "left of",
        "right of",
        "on",
        "in",
        "inside",
        "under",
        "underneath",
        "below",
        "beneath",
        "above",
        "over",
        "atop",
        "behind",
        "at",
        "down",
        "up",
        "across",
        "along",
        "through",
        "aboard",
        "into",
    )
)

# One thing by several names, for telling whether a caption names something new.
SYNONYMS = {
    word: row[0]
    for row in (
        listed("bike bicycle motorbike motorcycle scooter"),
        listed("plane airplane jet aircraft biplane seaplane"),
        listed("boat ship ferry sailboat"),
        listed("car taxi cab vehicle traffic"),
        listed("stove oven"),
        listed("fridge refrigerator icebox"),
        listed("phone cellphone"),
        listed("sofa couch"),
        listed("tub bathtub jacuzzi whirlpool"),
        listed("desk table"),
        listed("cement concrete pavement"),
        listed("tv television monitor"),
        listed("dog puppy poodle"),
        listed("cat kitten"),
        listed("cow bull calf cattle"),
        listed("horse pony"),
        listed("laptop computer"),
        listed("doughnut donut"),
        listed("burger hamburger sandwich"),
        listed("dock pier"),
        listed("sea ocean water lake river"),
        listed("hill mountain"),
        listed("racket racquet"),
        listed("shoe sneaker boot"),
        listed("coat jacket"),
        listed("cup mug glass"),
        listed("pot pan"),
        listed("plate platter tray"),
        listed("cupcake cake dessert"),
        listed("meal food lunch dinner"),
        listed("sign post pole"),
    )
    for word in row
}
# What is often in a photo without being worth a word, and what is in most rooms of a sort.
SCENERY = frozenset(
    listed(
        "car tree bush wall floor ceiling room road street path sidewalk intersection building "
        "house home window door table field grass sky ground park beach sea yard lawn meadow "
        "city town day night snow air area cloud stone wood background shirt post sign court "
        "kitchen bathroom bedroom office hallway mirror sink toilet shower cabinet counter "
        "towel lamp curtain rug shelf plate bowl fork knife spoon mouse keyboard"
    )
)
# Words by which a caption neither names something new nor surely contradicts another.
NO_NEWS = frozenset(
    listed(
        "sit stand lay lie look hold ride walk swing play get make set use show open closed top "
        "full ready large big small little young old different kind hanging"
    )
)
# What a mirror turns round, said or seen.
SIDED = frozenset(
    listed(
        "left right west east sign signs text letter letters word words writing written says "
        "saying reads reading clock watch newspaper label labels logo logos number numbers name "
        "names banner score poster posters scoreboard billboard magazine tattoo graffiti license"
    )
)
