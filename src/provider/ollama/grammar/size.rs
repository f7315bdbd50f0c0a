//! An upper bound for the length of a grammar, rule by rule as the compiler names and writes them.
//!
//! Names of rules are paths of property names, so a deep schema has long ones. Ollama truncates a grammar that does not fit its
//! buffer, and a truncated grammar crashes the model's runner.

use serde_json::Value;

/// The smallest buffer for a grammar, and the bytes of a larger one for each byte of the schema.
pub const ROOM_MIN: usize = 32 * 1024;
pub const ROOM_PER_BYTE: usize = 4;

/// The compiler's own rules for values of all kinds, with room to spare.
const PRIMITIVES: usize = 2048;

/// The characters around a rule, and the number behind a name that is already taken.
const RULE: usize = 16;

/// The characters between two parts of a rule, and the number behind each name.
const PART: usize = 32;

pub fn of_grammar(schema: &Value) -> usize {
    let definitions = schema["$defs"].as_object();
    let definitions =
        definitions.into_iter().flatten().map(|(name, value)| of_rule(value, "ref--defs-".len() + name.len()));
    PRIMITIVES + of_rule(schema, "alternative".len()) + definitions.sum::<usize>()
}

/// Returns the length of a schema's rule and of the rules inside it. `name` is the length of its name.
fn of_rule(schema: &Value, name: usize) -> usize {
    let field = |field: &str| schema.get(field);
    let list = |name: &str| field(name).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let head = name + RULE;
    if let Some(Value::String(reference)) = field("$ref") {
        return head + reference.len() + PART;
    }
    if let Some(Value::Array(ways)) = field("anyOf") {
        return head + ways.iter().map(|way| name + PART + of_rule(way, name + RULE)).sum::<usize>();
    }
    if let Some(Value::Array(kinds)) = field("type") {
        return head + kinds.len() * (2 * (name + RULE) + PART);
    }
    if let Some(Value::Array(values)) = field("enum") {
        return head + values.iter().map(|value| literal(&value.to_string()) + PART).sum::<usize>();
    }
    let properties = field("properties").and_then(Value::as_object);
    if properties.is_some() || field("additionalProperties").is_some() {
        let mut bytes = head + 8 * PART;
        let mut names = 0;
        for (property, value) in properties.into_iter().flatten() {
            let inner = name + 1 + property.len();
            names += property.len() + 1;
            // The rule of its value and that of its key, each with its name where it is used.
            bytes +=
                of_rule(value, inner) + literal(&Value::from(property.as_str()).to_string()) + 3 * inner + 3 * PART;
            if !list("required").iter().any(|name| name == property) {
                // The rule of what can come after it, and where that begins.
                bytes += 6 * inner + 5 * PART;
            }
        }
        if let Some(value) = field("additionalProperties") {
            let inner = name + "-additional-value".len();
            // A set of characters and a rule for each letter of a name, and all letters once more.
            bytes += of_rule(value, inner) + 8 * (inner + PART) + names * PART;
        }
        return bytes;
    }
    if let Some(items) = field("items") {
        return 2 * head + 8 * PART + of_rule(items, name + "-item".len());
    }
    if field("prefixItems").is_some() {
        let of_item = |item| 2 * name + 2 * PART + of_rule(item, name + "-tuple-2000".len());
        return head + PART + list("prefixItems").iter().map(of_item).sum::<usize>();
    }
    if let Some(Value::String(pattern)) = field("pattern") {
        // A literal letter gets quotation marks and a space at most; a count gets a rule of its own.
        let counts = pattern.bytes().filter(|byte| *byte == b'{').count();
        return head + 4 * pattern.len() + 2 * PART + counts * (2 * name + 2 * PART);
    }
    let bound = |word: &str| field(word).and_then(Value::as_i64);
    match (bound("minimum"), bound("maximum")) {
        (None, None) => head + 4 * PART,
        (least, most) => head + 16 * PART + of_integers(least, most),
    }
}

/// Returns the length of a string in a grammar: quotation marks and backslashes take two characters.
fn literal(text: &str) -> usize {
    text.len() + text.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count() + 2
}

fn of_integers(least: Option<i64>, most: Option<i64>) -> usize {
    let (Some(least), Some(most)) = (least, most) else {
        let end = least.or(most).unwrap_or(0).unsigned_abs();
        // One bound alone makes a rule for each digit, or for each number of digits.
        return digits(end) * 4 * PART + of_digits(0, end);
    };
    match (least < 0, most < 0) {
        (true, true) => of_digits(most.unsigned_abs(), least.unsigned_abs()),
        (true, false) => of_digits(0, least.unsigned_abs()) + of_digits(0, most.unsigned_abs()),
        (false, _) => of_digits(least.unsigned_abs(), most.unsigned_abs()),
    }
}

fn digits(number: u64) -> usize {
    number.to_string().len()
}

/// Returns the length of a rule for `least` to `most`: a range for each number of digits, split at most twice for each digit.
fn of_digits(least: u64, most: u64) -> usize {
    let mut bytes = PART;
    let mut from = least.to_string();
    let to = most.to_string();
    while from.len() < to.len() {
        bytes += of_range(from.as_bytes(), "9".repeat(from.len()).as_bytes()) + PART;
        from = format!("1{}", "0".repeat(from.len()));
    }
    bytes + of_range(from.as_bytes(), to.as_bytes())
}

fn of_range(from: &[u8], to: &[u8]) -> usize {
    let same = from.iter().zip(to).take_while(|(from, to)| from == to).count();
    let (from, to) = (&from[same..], &to[same..]);
    let mut bytes = same + PART;
    if let ([first, from @ ..], [last, to @ ..]) = (from, to)
        && !from.is_empty()
    {
        let (zeros, nines) = (vec![b'0'; from.len()], vec![b'9'; to.len()]);
        bytes += PART;
        let mut is_reached = false;
        if from != zeros {
            bytes += of_range(from, &nines) + PART;
            is_reached = last.saturating_sub(*first) > 1 && to == nines;
        }
        if !is_reached {
            bytes += of_range(&zeros, to) + PART;
        }
    }
    bytes
}
