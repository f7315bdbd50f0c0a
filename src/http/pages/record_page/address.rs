//! The filters of the record as an address has them.

use std::borrow::Cow;

use crate::model::record::Outcome;

/// The fields of the record's address, in the order in which links have them. They are named as in the API.
const FIELDS: [&str; 10] = ["text", "user_id", "token_id", "kind", "outcome", "model", "api", "from", "to", CURSOR];

/// The place in the list; a link with another filter begins at the newest row.
const CURSOR: &str = "cursor";

/// The fields of an address that are filled in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordAddress(Vec<(&'static str, String)>);

impl RecordAddress {
    /// Reads the known fields; of one that is there twice, the first, but all outcomes.
    pub fn parse(query: &str) -> RecordAddress {
        let mut address = RecordAddress::default();
        let mut outcomes: Vec<String> = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let value = value.trim();
            match FIELDS.iter().copied().find(|known| *known == name) {
                Some("outcome") => outcomes.extend(value.split(',').map(|one| one.trim().to_owned())),
                Some(known) if address.get(known).is_none() => address = address.with(known, value),
                _ => {}
            }
        }
        address.with("outcome", &in_order(outcomes))
    }

    /// Returns whether a query has just these fields, however they are encoded.
    pub fn is_of(&self, query: &str) -> bool {
        let own = self.0.iter().map(|(name, value)| (Cow::from(*name), Cow::from(value)));
        form_urlencoded::parse(query.as_bytes()).eq(own)
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// Returns a field for a form; empty when it is not filled in.
    pub fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    pub fn has_outcome(&self, outcome: &str) -> bool {
        self.text("outcome").split(',').any(|one| one == outcome)
    }

    /// Returns it with another value of a field; an empty one takes the field away.
    pub fn with(&self, name: &str, value: &str) -> RecordAddress {
        let values = FIELDS.iter().filter_map(|known| {
            let value = if *known == name { value } else { self.text(known) };
            (!value.is_empty()).then(|| (*known, value.to_owned()))
        });
        RecordAddress(values.collect())
    }

    pub fn without(&self, names: &[&str]) -> RecordAddress {
        RecordAddress(self.0.iter().filter(|(name, _)| !names.contains(name)).cloned().collect())
    }

    /// Returns the same filter, from its newest row on.
    pub fn newest(&self) -> RecordAddress {
        self.without(&[CURSOR])
    }

    /// Returns the same filter, from a cursor on.
    pub fn older(&self, cursor: i64) -> RecordAddress {
        self.with(CURSOR, &cursor.to_string())
    }

    /// Returns the cursor; what is no number is none.
    pub fn cursor(&self) -> Option<i64> {
        self.get(CURSOR)?.parse().ok()
    }

    /// Returns whether nothing is filtered.
    pub fn is_everything(&self) -> bool {
        self.newest().0.is_empty()
    }

    /// Returns the fields, for the hidden ones of a form, without those that the form has itself.
    pub fn fields_without(&self, names: &[&str]) -> Vec<(&'static str, String)> {
        self.newest().without(names).0
    }

    /// Returns the link to this list below `path`.
    pub fn link(&self, path: &str) -> String {
        if self.0.is_empty() {
            return path.to_owned();
        }
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(&self.0);
        format!("{path}?{}", query.finish())
    }
}

/// Returns outcomes in the order of the record, each once; unknown ones stay as they are, for the message about them.
fn in_order(mut outcomes: Vec<String>) -> String {
    outcomes.retain(|outcome| !outcome.is_empty());
    let place = |outcome: &String| Outcome::ALL.iter().position(|known| known.name() == outcome);
    outcomes.sort_by_key(|outcome| place(outcome).unwrap_or(usize::MAX));
    outcomes.dedup();
    outcomes.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_known_fields_once_in_one_order_and_none_that_is_empty() {
        let address =
            RecordAddress::parse("from=today&outcome=failed&x=1&text=+a%26b+&outcome=refused,completed&model=&text=c");

        assert_eq!(address.link("/r"), "/r?text=a%26b&outcome=completed%2Cfailed%2Crefused&from=today");
        assert_eq!(RecordAddress::parse(address.link("").trim_start_matches('?')), address);
        assert!(address.has_outcome("failed") && !address.has_outcome("abandoned") && !address.has_outcome(""));
        assert_eq!(RecordAddress::parse("").link("/r"), "/r");
        let today = RecordAddress::parse("from=today&to=");
        assert!(today.is_of("from=today") && today.is_of("from=%74oday"));
        assert!(!today.is_of("from=today&to=") && !today.is_of("from=Today") && !today.is_of(""));
    }

    #[test]
    fn another_filter_begins_at_the_newest_row() {
        let address = RecordAddress::parse("model=gemma3&cursor=7");

        assert_eq!(address.cursor(), Some(7));
        assert_eq!(address.older(5).link("/r"), "/r?model=gemma3&cursor=5");
        assert_eq!(address.newest().with("model", "").link("/r"), "/r");
        assert!(RecordAddress::parse("cursor=7").is_everything() && !address.is_everything());
        assert_eq!(RecordAddress::parse("cursor=x").cursor(), None);
        assert_eq!(address.fields_without(&["text"]), [("model", "gemma3".to_owned())]);
    }
}
