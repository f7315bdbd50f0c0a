//! Resolves a `$ref` inside its own document.

use std::cell::OnceCell;
use std::collections::HashMap;

use percent_encoding::percent_decode_str;
use serde_json::Value;

/// The schemas of one document, by the names that a reference may use.
pub struct Refs<'a> {
    root: &'a Value,
    /// By `$anchor` and by `$id`; collected when a reference first needs them.
    named: OnceCell<Named<'a>>,
}

#[derive(Default)]
struct Named<'a> {
    anchors: HashMap<&'a str, &'a Value>,
    ids: Vec<(&'a str, &'a Value)>,
}

impl<'a> Refs<'a> {
    pub fn of(root: &'a Value) -> Self {
        Refs { root, named: OnceCell::new() }
    }

    /// Returns the schema that a reference names; `None` if it is not in this document. Nothing is ever fetched.
    pub fn find(&self, reference: &str) -> Option<&'a Value> {
        let (document, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let document = if document.is_empty() { self.root } else { self.named().document(document)? };
        // A fragment is part of a URI: some generators write `Page<string>` as `Page%3Cstring%3E`.
        let fragment = percent_decode_str(fragment).decode_utf8().ok()?;
        if fragment.is_empty() || fragment.starts_with('/') {
            return document.pointer(&fragment);
        }
        self.named().anchors.get(&*fragment).copied()
    }

    fn named(&self) -> &Named<'a> {
        self.named.get_or_init(|| {
            let mut named = Named::default();
            named.collect(self.root);
            named
        })
    }
}

impl<'a> Named<'a> {
    fn collect(&mut self, value: &'a Value) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.collect(item)),
            Value::Object(fields) => {
                for key in ["$anchor", "$dynamicAnchor"] {
                    if let Some(Value::String(name)) = fields.get(key) {
                        self.anchors.entry(name).or_insert(value);
                    }
                }
                // `id` is how drafts up to 4 call it.
                for key in ["$id", "id"] {
                    match fields.get(key) {
                        // Up to draft 7, an anchor is an `$id` of a fragment alone.
                        Some(Value::String(id)) if id.starts_with('#') => {
                            self.anchors.entry(&id[1..]).or_insert(value);
                        }
                        Some(Value::String(id)) if !id.is_empty() => self.ids.push((id.trim_end_matches('#'), value)),
                        _ => {}
                    }
                }
                fields.values().for_each(|value| self.collect(value));
            }
            _ => {}
        }
    }

    /// Returns a document by its whole address, or by the end of it as in a relative reference.
    fn document(&self, reference: &str) -> Option<&'a Value> {
        let end = reference.trim_start_matches("./");
        let is_end =
            |id: &str| id.strip_suffix(end).is_some_and(|before| before.ends_with('/') || end.starts_with('/'));
        let whole = self.ids.iter().find(|(id, _)| *id == reference);
        whole.or_else(|| self.ids.iter().find(|(id, _)| is_end(id))).map(|(_, value)| *value)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_reference_is_found_by_pointer_anchor_and_id() {
        let root = json!({
            "$id": "https://example.org/root.json",
            "$defs": {
                "Page<string>": 1, "a/b": 2, "c~d": 3, "é": 4,
                "here": {"$anchor": "spot", "x": 5},
                "old": {"$id": "#corner"},
                "other": {"$id": "https://example.org/other.json", "$defs": {"x": 6}},
            },
            "items": [7],
        });
        let refs = Refs::of(&root);

        for (reference, found) in [
            ("#", Some(root.clone())),
            ("", Some(root.clone())),
            ("https://example.org/root.json", Some(root.clone())),
            ("#/$defs/Page%3Cstring%3E", Some(json!(1))),
            ("#/%24defs/Page<string>", Some(json!(1))),
            ("#/$defs/a~1b", Some(json!(2))),
            ("#/$defs/c~0d", Some(json!(3))),
            ("#/$defs/%C3%A9", Some(json!(4))),
            ("#spot", Some(root["$defs"]["here"].clone())),
            ("#corner", Some(root["$defs"]["old"].clone())),
            ("https://example.org/other.json#/$defs/x", Some(json!(6))),
            ("other.json#/$defs/x", Some(json!(6))),
            ("./other.json#/$defs/x", Some(json!(6))),
            ("/other.json#/$defs/x", Some(json!(6))),
            ("#/items/0", Some(json!(7))),
            ("ther.json#/$defs/x", None),
            ("#/$defs/Page%3Cint%3E", None),
            ("#/$defs/%FF", None),
            ("#nowhere", None),
            ("https://elsewhere.org/a.json", None),
        ] {
            assert_eq!(refs.find(reference).cloned(), found, "{reference}");
        }
    }
}
