"""The text grammar of OCCI: values of Category, Link, X-OCCI-Attribute and X-OCCI-Location, in pyparsing.

Each rule stands under its ABNF: GFD.185 §3.5 (OCCI 1.1) and GFD.229 §4 (OCCI 1.2); where they differ, the
wider one is taken. Fields, lines and folding are not here but in text.py.

Two habits keep it quick. White space belongs to the rules, so pyparsing never looks for it; and a run of
parameters is one Regex that takes as many as are well-formed, which its parse action then tells apart. What
follows the run is where the message is wrong, so errors point there; where a run is the whole value, its action
says so itself, which costs less than another rule.

A value is read once, from left to right, however hostile. What repeats is a class of characters, and
possessive; or a group, each turn of which can end in one place only, so that giving one back never helps.
Groups are not possessive themselves: Python before 3.11.5, Debian 12's among them, gets that wrong.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Final

from pyparsing import (
    ParseBaseException,
    ParseException,
    ParseFatalException,
    ParserElement,
    ParseResults,
    Regex,
    ZeroOrMore,
)

from renderers.occi.representation import (
    AttributeDefinition,
    AttributeValue,
    CategoryClass,
    CategoryId,
    SentCategory,
    SentLink,
)

INTEGER_RANGE: Final = range(-(2**63), 2**64)
"""What every rendering can carry."""
LONGEST_NUMBER: Final = 400
"""Characters; the longest that a double needs without an exponent is 327."""
LONGEST_REMEMBERED: Final = 512
"""Characters of a Category field."""


class GrammarError(Exception):
    """A value that breaks the grammar `offset` characters into it; text.py turns it into a RenderingError."""

    def __init__(self, offset: int, expected: str, message: str = "") -> None:
        super().__init__(message or f"expected {expected}")
        self.offset = offset
        self.expected = expected
        self.message = message or f"expected {expected}"


# --- Basic rules (RFC 2616 §2.2, which GFD.185 §3.5 takes its notation from) ---

# LWS = [CRLF] 1*( SP | HT )
# Deviation: line breaks alone count too, since text.py leaves folded lines as they are.
SPACE = r"[ \t\r\n]"

# quoted-string = <"> *( qdtext | quoted-pair ) <">
# Deviations: line breaks may stand inside (keys and user data pasted as they are); see `unquote` for the escapes.
QUOTED_STRING = r'"[^"\\]*+(?:\\.[^"\\]*+)*"'

# token = 1*<any CHAR except CTLs or separators>
# Deviation: only what would end it is excluded, for paths and URIs that clients leave unquoted.
UNQUOTED = r'[^\s",;]++'

# 1.1: term = LOALPHA *( LOALPHA | DIGIT | "-" | "_" )
# 1.2: term = ( ALPHA | DIGIT ) *( ALPHA | DIGIT | "-" | "_" | "." )
TERM = r"[A-Za-z0-9][A-Za-z0-9_.-]*+"

# 1.1: attribute-name = attr-component *( "." attr-component )
#      attr-component = LOALPHA *( LOALPHA | DIGIT | "-" | "_" )
# 1.2: attribute-name = term
ATTRIBUTE_NAME = TERM

# ";"
# Deviations: a trailing or doubled ";" (the examples of GFD.185 §3.4), and none at all where white space parts two
# parameters (the examples of GFD.185 §3.7.2 and GFD.229 §6.1 leave it out after scheme).
NEXT_PARAMETER = r"[ \t\r\n;]++"

# "="
EQUALS = rf"{SPACE}*+={SPACE}*+"


def rule(pattern: str, name: str) -> Regex:
    """A pyparsing terminal that yields its match object and skips no white space."""
    terminal = Regex(pattern, re.DOTALL, as_match=True)
    terminal.leave_whitespace(recursive=False)
    terminal.set_name(name)
    return terminal


def whole(element: ParserElement, expected: str) -> ParserElement:
    """The element and nothing after it but commas; `expected` is what else could have stood there."""
    value = element + rule(r"[ \t\r\n,]*+\Z", expected).suppress()
    value.leave_whitespace(recursive=False)
    value.parse_with_tabs()
    return value


def run_of(element: re.Pattern[str]) -> Regex:
    """`#element` as one terminal; its parse action calls `whole_run` and finds the elements in what it matched."""
    comma = r"[ \t\r\n;]*+,[ \t\r\n,]*+"
    run = rule(rf"[ \t\r\n,]*+(?:{element.pattern}(?:{comma}{element.pattern})*)?[ \t\r\n,;]*+", "a list")
    run.parse_with_tabs()
    return run


def whole_run(source: str, tokens: ParseResults, expected: str) -> int:
    """Where the run ended, which must be the end of the value; `expected` is what else could have stood there."""
    end: int = tokens[0].end()
    if end != len(source):
        raise ParseException(source, end, f"Expected {expected}")
    return end


def list_of(element: ParserElement, expected: str) -> ParserElement:
    """`#element`: a list parted by commas, in which empty places count for nothing (RFC 2616 §2.1)."""
    start = rule(r"[ \t\r\n,]*+", "white space").suppress()
    comma = rule(r"[ \t\r\n]*+,[ \t\r\n,]*+(?=[^ \t\r\n,])", '","').suppress()
    return whole(start + element + ZeroOrMore(comma - element), expected)


# --- Values ---

ESCAPE: Final = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(.))", re.DOTALL)
CONTROLS: Final = {"n": "\n", "r": "\r", "t": "\t"}
SURROGATE: Final = re.compile("[\ud800-\udfff]")


def unquote(quoted: str) -> str:
    r"""The characters that a quoted-string stands for.

    quoted-pair = "\" CHAR, that is `\"` and `\\`. Deviation: `\n`, `\r`, `\t` and `\uXXXX` are the characters
    that JSON means by them, because a quoted-pair has no other way to carry a line break through a header.
    """
    if "\\" not in quoted:
        return quoted[1:-1]
    text = ESCAPE.sub(_unescape, quoted[1:-1])
    if SURROGATE.search(text):
        # Pairs are one character beyond U+FFFF; what is left alone is none at all.
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _unescape(escape: re.Match[str]) -> str:
    code, character = escape.groups()
    return chr(int(code, 16)) if code else CONTROLS.get(character, character)


# number = (int | float);  int = *DIGIT;  float = *DIGIT "." *DIGIT
# Deviation: a sign and an exponent, as programming languages print them (2.4e9, -1).
NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def attribute_value(text: str) -> AttributeValue:
    """attribute-value = ( string | number | bool | enum-val ).

    bool = ("true" | "false"), in any case as RFC 2616 literals are. Deviation: an unquoted token is a string
    (`occi.compute.hostname=foobar` in GFD.185 §3.6.6).
    """
    if text[0] == '"':
        return unquote(text)
    if NUMBER.fullmatch(text):
        return _number(text)
    match text.lower():
        case "true":
            return True
        case "false":
            return False
    return text


def _number(text: str) -> int | float:
    if len(text) > LONGEST_NUMBER:
        raise ValueError(f"a number of {len(text)} characters is too long, expected at most {LONGEST_NUMBER}")
    if text.lstrip("+-").isdigit():
        integer = int(text)
        if integer not in INTEGER_RANGE:
            raise ValueError(f"{integer} is out of range, expected an integer of 64 bits")
        return integer
    real = float(text)
    if not math.isfinite(real):
        raise ValueError(f"{text} is out of range, expected a number that a double can hold")
    return real


@lru_cache(maxsize=4096)
def type_identifier(text: str) -> CategoryId:
    """type-identifier = scheme term; the scheme ends with the last "#", or else the last "/"."""
    cut = (text.rfind("#") if "#" in text else text.rfind("/")) + 1
    if cut == 0 or cut == len(text):
        raise ValueError(f'"{text[:80]}" is no type identifier, expected scheme#term')
    return CategoryId(text[:cut], text[cut:])


def type_identifiers(text: str) -> tuple[CategoryId, ...]:
    """resource-type, link-type, action-list = type-identifier *( 1*SP type-identifier )."""
    return tuple([type_identifier(word) for word in text.split()])


# --- Category (GFD.185 §3.5.1, GFD.229 §4.1) ---

# category-value = term ";" "scheme" "=" <"> scheme <">
#                  ";" "class" "=" ( class | <"> class <"> )
#                  [ ";" "title" "=" quoted-string ]
#                  [ ";" "rel" "=" <"> type-identifier <"> ]
#                  [ ";" "location" "=" <"> URI <"> ]
#                  [ ";" "attributes" "=" <"> attribute-list <"> ]
#                  [ ";" "actions" "=" <"> action-list <"> ]
# class          = "action" | "mixin" | "kind"
# Deviations: parameters in any order (erocci prints location elsewhere), class missing from a filter (pOCCI) or in
# upper case.
CATEGORY_PARAMETER: Final = re.compile(
    rf"{NEXT_PARAMETER}(scheme|class|title|rel|location|attributes|actions){EQUALS}({QUOTED_STRING}|{UNQUOTED})",
    re.DOTALL,
)
category_term = rule(TERM, "a term")
category_parameters = rule(rf"((?:{CATEGORY_PARAMETER.pattern})*)[ \t\r\n;]*+", "parameters")
category_value = category_term + category_parameters
category_values = list_of(
    category_value,
    'scheme="...", class, title, rel, location, attributes, actions or the end of the category',
)

# attribute-list     = attribute-def *( 1*SP attribute-def )
# attribute-def      = attribute-name [ "{" attribute-property *( 1*SP attribute-property ) "}" ]
# attribute-property = "immutable" | "required"
ATTRIBUTE_DEFINITION: Final = re.compile(rf"{SPACE}*+({ATTRIBUTE_NAME})(?:\{{([^{{}}]*+)\}})?(?={SPACE}|\Z)")


def _category(source: str, offset: int, tokens: ParseResults) -> SentCategory:
    term, parameters = tokens
    found: dict[str, str] = {}
    places: dict[str, int] = {}
    for parameter in CATEGORY_PARAMETER.finditer(source, parameters.start(1), parameters.end(1)):
        name, value = parameter.groups()
        if name in found:
            raise ParseFatalException(source, parameter.start(1), f"{name} is given twice")
        found[name] = unquote(value) if value[0] == '"' else value
        places[name] = parameter.start(2)
    if not found.get("scheme"):
        raise ParseException(source, parameters.end(), f'expected scheme="..." for the category {term[0]}')
    place = offset
    try:
        place = places["scheme"]
        identity = CategoryId(_word(found["scheme"], "scheme"), term[0])
        place = places.get("class", offset)
        category_class = _category_class(found["class"]) if "class" in found else None
        place = places.get("rel", offset)
        related = type_identifiers(found.get("rel", ""))
        place = places.get("actions", offset)
        action_ids = type_identifiers(found.get("actions", ""))
        place = places.get("attributes", offset)
        attributes = _attribute_definitions(found.get("attributes", ""))
    except ValueError as error:
        raise ParseFatalException(source, place, str(error)) from error
    return SentCategory(
        id=identity,
        category_class=category_class,
        title=found.get("title"),
        related=related,
        location=found.get("location"),
        attribute_names=tuple(attribute.name for attribute in attributes),
        action_ids=action_ids,
        attributes=attributes,
    )


category_value.set_parse_action(_category)


def _word(text: str, name: str) -> str:
    if not text.isprintable() or " " in text:
        raise ValueError(f"{name} is {text[:80]!r}, expected a URI")
    return text


def _category_class(text: str) -> CategoryClass:
    try:
        return CategoryClass(text.lower())
    except ValueError:
        raise ValueError(f"class is {text[:80]!r}, expected kind, mixin or action") from None


def _attribute_definitions(text: str) -> tuple[AttributeDefinition, ...]:
    definitions = []
    position, end = 0, len(text.rstrip())
    while position < end:
        definition = ATTRIBUTE_DEFINITION.match(text, position)
        if definition is None:
            raise ValueError(
                f'attributes has {text[position : position + 40]!r}, expected "name{{immutable required}}"'
            )
        properties = set((definition[2] or "").split())
        if unknown := properties - {"immutable", "required"}:
            raise ValueError(f"{min(unknown)[:40]!r} is no property of an attribute, expected immutable or required")
        definitions.append(
            AttributeDefinition(definition[1], required="required" in properties, mutable="immutable" not in properties)
        )
        position = definition.end()
    return tuple(definitions)


# --- Link (GFD.185 §3.5.2 and §3.5.3, GFD.229 §4.2) ---

# link-value     = "<" URI-reference ">"
#                  ";" "rel" "=" <"> resource-type <">
#                  [ ";" "self" "=" <"> link-instance <"> ]
#                  [ ";" "category" "=" link-type *( ";" link-attribute ) ]
# link-attribute = attribute-name "=" ( token | quoted-string )
# and of actions:
# link-value     = "<" action-uri ">" ";" "rel" "=" <"> action-type <">
# action-uri     = URI "?" "action=" term
# Deviations: parameters in any order; category quoted, as in every example; rel missing, which only the server can
# tell to be needless; attributes of an action link.
LINK_PARAMETER: Final = re.compile(
    rf"{NEXT_PARAMETER}({ATTRIBUTE_NAME}){EQUALS}"
    rf"({QUOTED_STRING}|{UNQUOTED}(?: [^\s\",;=#]++#[^\s\",;=]++)*)",
    re.DOTALL,
)
LINK_TARGET: Final = r"<([^<>\s\"]++)>"
LINK: Final = re.compile(rf"{LINK_TARGET}(?:{LINK_PARAMETER.pattern})*[ \t\r\n;]*+", re.DOTALL)
LINK_PART: Final = re.compile(rf"{LINK_TARGET}|{LINK_PARAMETER.pattern}", re.DOTALL)
"""What a run of links consists of, from left to right: a target and its parameters, the next target."""
link_values = run_of(LINK)


def _links(source: str, offset: int, tokens: ParseResults) -> list[SentLink]:
    end = whole_run(source, tokens, '<URI>; rel="..."; self="..."; category="..."; name=value')
    parts: list[tuple[str, list[re.Match[str]]]] = []
    for part in LINK_PART.finditer(source, offset, end):
        if part[1] is None:
            parts[-1][1].append(part)
        else:
            parts.append((part[1], []))
    return [_link(source, target, parameters) for target, parameters in parts]


link_values.set_parse_action(_links)


def _link(source: str, target: str, parameters: list[re.Match[str]]) -> SentLink:
    attributes: dict[str, AttributeValue] = {}
    relation: tuple[CategoryId, ...] = ()
    categories: tuple[CategoryId, ...] = ()
    location: str | None = None
    for parameter in parameters:
        _, name, text = parameter.groups()
        try:
            if name == "rel":
                relation = type_identifiers(text.strip('"'))
            elif name == "category":
                categories = type_identifiers(text.strip('"'))
            elif name == "self":
                location = unquote(text) if text[0] == '"' else text
            else:
                value = unquote(text) if text[0] == '"' else attribute_value(text)
                if attributes.setdefault(name, value) != value:
                    raise ValueError(f"{name} is given twice with different values")
        except ValueError as error:
            raise ParseFatalException(source, parameter.start(2), str(error)) from error
    return SentLink(target, relation, location, categories, attributes)


# --- X-OCCI-Attribute (GFD.185 §3.5.4, GFD.229 §4.3) ---

# Attribute      = "X-OCCI-Attribute" ":" #attribute-repr
# attribute-repr = attribute-name "=" attribute-value
# Deviation: a ";" after the value, as after those of links.
ATTRIBUTE: Final = re.compile(rf"({ATTRIBUTE_NAME}){EQUALS}({QUOTED_STRING}|{UNQUOTED})", re.DOTALL)
attribute_values = run_of(ATTRIBUTE)


def _attributes(source: str, offset: int, tokens: ParseResults) -> dict[str, AttributeValue]:
    end = whole_run(source, tokens, "name=value")
    attributes: dict[str, AttributeValue] = {}
    for attribute in ATTRIBUTE.finditer(source, offset, end):
        name, text = attribute.groups()
        try:
            value = attribute_value(text)
        except ValueError as error:
            raise ParseFatalException(source, attribute.start(2), str(error)) from error
        if attributes.setdefault(name, value) != value:
            raise ParseFatalException(source, attribute.start(1), f"{name} is given twice with different values")
    return attributes


attribute_values.set_parse_action(_attributes)


# --- X-OCCI-Location (GFD.185 §3.5.5, GFD.229 §4.4) ---

# Location       = "X-OCCI-Location" ":" location-value
# location-value = URI-reference
# Deviation: a comma parts two locations, as GFD.185 §3.5 shows, and so can't stand in one.
LOCATION: Final = re.compile(r"[^\s,<>\"\\^`{|}]++")
location_values = run_of(LOCATION)


def _locations(source: str, _offset: int, tokens: ParseResults) -> tuple[str, ...]:
    whole_run(source, tokens, "a URI")
    return tuple(LOCATION.findall(source))


location_values.set_parse_action(_locations)


# --- What text.py calls ---

for _values in (category_values, link_values, attribute_values, location_values):
    _values.streamline()  # now and not in a request: it changes the rules, and threads share them


def _parse(element: ParserElement, value: str) -> ParseResults:
    try:
        return element.parse_string(value)
    except ParseBaseException as error:
        message = error.msg.removeprefix("Expected ")
        if message == error.msg:
            raise GrammarError(error.loc, "", message) from error
        raise GrammarError(error.loc, message) from error


@lru_cache(maxsize=2048)
def _known_categories(value: str) -> tuple[SentCategory, ...]:
    return tuple(_parse(category_values, value))


def categories(value: str) -> tuple[SentCategory, ...]:
    """The value of a Category field. Clients send the same few over and over, so short ones are remembered."""
    if len(value) <= LONGEST_REMEMBERED:
        return _known_categories(value)
    return tuple(_parse(category_values, value))


def links(value: str) -> tuple[SentLink, ...]:
    """The value of a Link field."""
    return tuple(_parse(link_values, value))


def attributes(value: str) -> dict[str, AttributeValue]:
    """The value of an X-OCCI-Attribute field."""
    found: dict[str, AttributeValue] = _parse(attribute_values, value)[0]
    return found


def locations(value: str) -> tuple[str, ...]:
    """The value of an X-OCCI-Location field."""
    found: tuple[str, ...] = _parse(location_values, value)[0]
    return found
