"""Makes schemas that nobody should send: random ones, and what is known to end or hang a grammar compiler, in random places."""

import random

# Known to end Ollama 0.24 or its runner, or to hang it.
PATTERNS = [
    r"^(?:a|b)$", r"(?=a)", r"^(?!x).*$", r"(?<=a)b", r"^(?<n>a)\k<n>$", r"(?i)a", r"^\d{5}$", r"^[\w\-]+(\.[\w\-]+)*$", r"\s\S\d\D\w\W\b\B",
    r"^\/api\/-\-$", "^+$", "*", "?", "{2}", "a{,3}", "^a{2001}$", "^a{99999999999}$", "^a{5,2}$", "^(a?)*$", "^((a?){0,50}){0,50}$", "^(a*)*$", "^(a|a)*$",
    "^(a?b?c?)*$", "^(((((((((((((((((((((a)))))))))))))))))))))$", "^" + "(" * 300 + "a" + ")" * 300 + "$", "[", "(", ")", "\\", "^\\$", "]", "[]", "[^]", "^[]a]$",
    "^[z-a]$", "^[\\]-a]$", "^[a-\\d]$", "^[^\"]*$", "^\"$", "^\\\\$", "^é{3}ü*$", "^\U0001f600+$", r"^\uD800$", r"^\uD83D\uDE00$", r"^\u{110000}$", r"^\x00$", "\x00",
    "^[\\u0000-\\u001f]$", "^.{0,2000}$", "^.{0,2000}.{0,2000}$", "^([a-z]{1,500}){1,500}$", "^(.*.*.*.*.*)*$", "", "^", "$", "^$", "$^", "a^b$c", "|", "^|$", "||||", "^(|)$",
    "^(" + "|".join("abcdefghijklmnopqrstuvwxyz") + "){100}$", "^[a-z]{2000}$", r"^P(?:(\d+W)|(?!.*W)(?=\d|T\d)(\d+Y)?)$", "x" * 5000, "^(a?){1000}$", "a" * 100 + "?" * 2,
    r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$", r"^(?:(?:25[0-5]|2[0-4][0-9])\.){3}$", r"\p{L}+", r"^\cA$", r"^\1(a)$", "^<a>!<b>$", "^#a\n#b$", "^a::=b$", "^root$", "^[ \t\r\n]$",
]
NAMES = [
    "a", "b", "c", "root", "space", "", "*", "$ref", "$defs", "char", "value", "string", "dot", "a b", "a-b", "a_b", "a]", "[^", "\\", "\"", "é", "\U0001f600", "\n", "\x00", "-",
    "ref-defs-r0", "alternative-0", "x" * 300, "_" * 3000, "::=", "#", "|", "kv", "a-kv", "additional", "properties", "anyOf", "enum", "\u2028", "type",
]
TYPES = ["object", "array", "string", "integer", "number", "boolean", "null"]
COUNTS = [0, 1, 2, 3, 50, 1999, 2000, 2001, 5000, 10**9, 2**31, 2**32, 2**63, 1e300, -1, -(2**31), 1.5, "3", None]
NUMBERS = [0, 1, -1, 9, 10, 99, 1000, -1000, 123456789, 10**15 - 1, 10**15, -(10**15), 2**53, 2**63 - 1, -(2**63), 2**64, 1e300, -1e300, 0.5, "1", None]
FORMATS = ["date", "time", "date-time", "uuid", "uuid1", "uuid9", "email", "uri", "x" * 1000, "", None, 5]
WORDS = [
    "type", "properties", "required", "additionalProperties", "patternProperties", "items", "prefixItems", "additionalItems", "minItems", "maxItems", "minLength", "maxLength",
    "pattern", "format", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "enum", "const", "anyOf", "oneOf", "allOf", "not", "if", "$ref", "uniqueItems", "nullable",
]


class Hostile:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.left = self.random.choice([5, 20, 60])

    def whole(self):
        """A schema, an object as the wire wants it."""
        if self.random.random() < 0.06:
            return self.special()
        schema = self.schema(0)
        if not isinstance(schema, dict):
            schema = {"anyOf": [schema]}
        for place in ("$defs", "definitions"):
            if self.random.random() < 0.6:
                schema[place] = {name: self.schema(1) for name in self.random.sample(["A", "B", "C", "d e", "Page<string>", "é"], 3)}
        return schema

    def schema(self, depth):
        self.left -= 1
        if self.left < 0 or depth > 12:
            return self.random.choice([True, False, {}, {"type": self.random.choice(TYPES)}, {"$ref": self.reference()}, {"const": self.random.choice(NAMES)}])
        kind = self.random.random()
        if kind < 0.45:
            return self.sensible(depth)
        if kind < 0.98:
            words = self.random.sample(WORDS, self.random.randint(1, 4))
            return {word: self.word(word, depth) for word in words}
        return self.random.choice([None, 5, "string", [], [{}]])

    def sensible(self, depth):
        kind = self.random.choice(TYPES + ["object", "object", "array", "string", "union", "ref"])
        few = self.random.randint(1, 4)
        if kind == "union":
            return {self.random.choice(["anyOf", "oneOf"]): [self.schema(depth + 1) for _ in range(few)]}
        if kind == "ref":
            return {"$ref": self.reference()}
        schema = {"type": kind}
        if kind == "object":
            names = self.random.sample(NAMES, few)
            schema["properties"] = {name: self.schema(depth + 1) for name in names}
            schema["required"] = [name for name in names if self.random.random() < 0.6]
            if self.random.random() < 0.3:
                schema["additionalProperties"] = self.word("additionalProperties", depth)
        elif kind == "array":
            schema["items"] = self.schema(depth + 1)
            self.some(schema, "minItems", "maxItems", depth=depth)
        elif kind == "string":
            self.some(schema, "pattern", "minLength", "maxLength", "format", depth=depth)
        elif kind in ("integer", "number"):
            self.some(schema, "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", depth=depth)
        return schema

    def some(self, schema, *words, depth):
        for word in words:
            if self.random.random() < 0.4:
                schema[word] = self.word(word, depth)

    def reference(self):
        return self.random.choice(["#", "#/$defs/A", "#/$defs/B", "#/$defs/C", "#/definitions/A", "#/$defs/Page%3Cstring%3E", "#/properties/a", "#/gone", "https://example.org/x", "#a"])

    def word(self, word, depth):
        pick = self.random.choice
        if word == "type":
            return pick(TYPES + [pick([[], ["string", "null"], TYPES, "date", 5, None, ["x"]])])
        if word in ("properties", "patternProperties"):
            return {pick(NAMES + PATTERNS): self.schema(depth + 1) for _ in range(self.random.randint(0, 3))}
        if word == "required":
            return pick([[], ["a"], ["a", "b", "zzz"], ["$ref"], [""], True, [1], ["a"] * 50])
        if word in ("additionalProperties", "additionalItems", "not", "if"):
            return pick([True, False, self.schema(depth + 1)])
        if word == "items":
            return pick([True, False, self.schema(depth + 1), [self.schema(depth + 1)]])
        if word in ("prefixItems", "anyOf", "oneOf", "allOf"):
            return [self.schema(depth + 1) for _ in range(self.random.randint(0, 3))]
        if word == "pattern":
            return pick(PATTERNS) if self.random.random() < 0.6 else self.pattern()
        if word == "format":
            return pick(FORMATS)
        if word in ("minItems", "maxItems", "minLength", "maxLength"):
            return pick(COUNTS)
        if word in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
            return pick(NUMBERS)
        if word == "enum":
            return pick([[], [None], [1, 1.0, "1"], [{"$ref": "#"}], [{"a": {"b": [1e308]}}], NAMES[:20], list(range(300)), ["x" * 20000], ["\x7f\x00\"\\"]])
        if word == "const":
            return pick([None, 1, {"$ref": "x"}, "", "\"", [], {}, NAMES[-3], -0.0, 1e308, 2**64])
        if word == "$ref":
            return pick([self.reference(), 5, None, ""])
        return pick([True, False, None, 1])

    def pattern(self):
        pieces = ["a", "b", ".", r"\d", r"\w", r"\s", "[a-z]", "[^x]", "(", ")", "(?:", "|", "*", "+", "?", "{2}", "{0,9}", "{3,}", "^", "$", r"\-", "-", "\"", r"\\", "é", "[", "]", "#", " "]
        return "".join(self.random.choice(pieces) for _ in range(self.random.randint(1, 14)))

    def special(self):
        """Large in one direction."""
        n = self.random.choice([50, 90, 300, 1000])
        nested = {"type": "null"}
        for _ in range(min(n, 80) // 2):
            nested = {"type": "object", "properties": {"a_long_name_of_a_property": nested}, "required": ["a_long_name_of_a_property"]}
        twins = {f"d{at}": {"anyOf": [{"properties": {"a": {"$ref": f"#/$defs/d{at + 1}"}}}, {"properties": {"a": {"$ref": f"#/$defs/d{at + 1}"}, "b": {}}}]} for at in range(12)}
        return self.random.choice([
            nested,
            {"enum": [f"item_{at:06}" for at in range(n)]},
            {"type": "object", "properties": {f"p{at}": {"type": "string", "maxLength": 2000} for at in range(n)}},
            {"type": "object", "properties": {f"property_with_a_long_name_{at}": {"type": "string"} for at in range(n)}, "required": [f"property_with_a_long_name_{at}" for at in range(n)]},
            {"anyOf": [{"type": "object", "properties": {"a": {"const": at}}, "required": ["a"]} for at in range(n)]},
            {"$defs": {**twins, "d12": {"type": "null"}}, "$ref": "#/$defs/d0"},
            {"anyOf": [{"type": "object", "properties": {"a": {"$ref": "#"}, name: {"type": "null"}}, "required": ["a"]} for name in "bcd"] + [{"type": "null"}]},
            {"type": "array", "items": {"type": "array", "items": {"type": "string", "minLength": 2000}, "minItems": 2000}, "minItems": 2000},
            {"type": "object", "properties": {f"n{at}": {"type": "integer", "minimum": 10 + at, "maximum": 10**14 + at} for at in range(min(n, 200))}},
            {"type": "string", "pattern": "^(" + "|".join(f"w{at}.*" for at in range(n)) + ")$"},
        ])
