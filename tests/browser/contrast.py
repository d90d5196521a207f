"""Whether text on a page can be read: WCAG's contrast, and none over another. In the browser."""

# Text with less contrast than WCAG's 4.5 : 1 to what lies behind it; 3 : 1 for large text.
FAINT = """() => {
  const channels = colour => {
    const found = colour.match(/[\\d.]+/g).map(Number);
    return found.length > 3 ? found : [...found, 1];
  };
  const light = ([r, g, b]) => [r, g, b].map(value => value / 255)
    .map(value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
    .reduce((sum, value, at) => sum + value * [0.2126, 0.7152, 0.0722][at], 0);
  const behind = element => {
    for (let at = element; at; at = at.parentElement) {
      const colour = channels(getComputedStyle(at).backgroundColor);
      if (colour[3] === 1) return colour;
    }
    return [255, 255, 255, 1];
  };
  const texts = [...document.querySelectorAll('body *')].filter(element =>
    [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim()));
  return texts.map(element => {
    const style = getComputedStyle(element);
    const is_svg = element.namespaceURI.endsWith('svg');
    const pair = [light(channels(is_svg ? style.fill : style.color)), light(behind(element))];
    const contrast = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    const is_large = parseFloat(style.fontSize) >= 24;
    return [contrast >= (is_large ? 3 : 4.5), element.textContent.trim(), contrast];
  }).filter(([is_fine]) => !is_fine);
}"""

# Words of pictures that lie over each other or stick out.
CLASHES = """() => [...document.querySelectorAll('figure svg')].flatMap(svg => {
  const frame = svg.getBoundingClientRect();
  const texts = [...svg.querySelectorAll('text')]
    .map(text => [text.textContent, text.getBoundingClientRect()]);
  const out = texts.filter(([, box]) => box.left < frame.left - 1 || box.right > frame.right + 1
    || box.top < frame.top - 1 || box.bottom > frame.bottom + 1).map(([text]) => [text, 'out']);
  const over = texts.flatMap(([text, box], at) => texts.slice(at + 1)
    .filter(([, other]) => box.left < other.right - 1 && other.left < box.right - 1
      && box.top < other.bottom - 2 && other.top < box.bottom - 2)
    .map(([other]) => [text, other]));
  return [...out, ...over];
})"""
