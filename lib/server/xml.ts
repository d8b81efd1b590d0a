/** XML as OSS sends and takes it: elements and text. */

/** An element with text, or with child elements. */
export type XmlElement = readonly [name: string, content: string | readonly XmlElement[]]

/** A document, two spaces for each level. */
export function renderXml(root: XmlElement): Buffer {
  return Buffer.from(`<?xml version="1.0" encoding="UTF-8"?>\n${renderElement(root, '')}`)
}

function renderElement([name, content]: XmlElement, indent: string): string {
  if (typeof content === 'string') return `${indent}<${name}>${escapeXml(content)}</${name}>\n`
  const children = content.map(child => renderElement(child, `${indent}  `)).join('')
  return `${indent}<${name}>\n${children}${indent}</${name}>\n`
}

/** XML 1.0 cannot hold most control characters, not even escaped, and a key may contain them. */
function escapeXml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replace(/[^\t\n\r -\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, '?')
}

const ENTITIES = new Map(Object.entries({ amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }))

/** Text with its entities decoded. An unknown entity stays as it is. */
export function unescapeXml(text: string): string {
  return text.replace(
    /&(?:(amp|lt|gt|quot|apos)|#(x[0-9A-Fa-f]{1,5}|\d{1,6}));/g,
    (_, name, code) =>
      name === undefined ? String.fromCodePoint(Number(`0${code}`)) : ENTITIES.get(name)!,
  )
}

/**
 * The content of a root element without attributes other than namespaces; undefined if it has another name, or
 * the document holds anything else.
 */
export function rootContent(document: string, name: string): string | undefined {
  const root = new RegExp(
    `^\\s*(?:<\\?xml[^>]*\\?>\\s*)?<${name}(?: xmlns="[^"]*")?>(.*)</${name}>\\s*$`,
    's',
  )
  return root.exec(document)?.[1]
}
