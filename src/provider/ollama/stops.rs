//! Looks for stop sequences in an answer's text, however the text is cut into pieces.
//!
//! Ollama ends an answer at a stop sequence too, but reports neither that nor which one, and leaves it out of the text.

/// The search through one answer.
pub struct StopSearch {
    stops: Vec<String>,
    /// The end of the text so far that may be the beginning of a stop sequence.
    held: String,
}

/// What a piece of text adds to the answer.
#[derive(Debug, PartialEq, Eq)]
pub struct SearchedText {
    /// Text before a stop sequence and before what may be the beginning of one.
    pub text: String,
    /// The number of the stop sequence that ended the answer.
    pub stop: Option<usize>,
}

impl StopSearch {
    /// Searches for `stops`, none of which is empty.
    pub fn of(stops: Vec<String>) -> Self {
        StopSearch { stops, held: String::new() }
    }

    pub fn is_for_nothing(&self) -> bool {
        self.stops.is_empty()
    }

    /// Takes the next piece. The stop sequence that is complete first ends the answer; of two that end together, the longer one.
    pub fn pass(&mut self, piece: &str) -> SearchedText {
        self.held.push_str(piece);
        let found = self.stops.iter().enumerate().filter_map(|(number, stop)| {
            let start = self.held.find(stop)?;
            Some((start + stop.len(), start, number))
        });
        if let Some((_, start, number)) = found.min() {
            self.held.truncate(start);
            return SearchedText { text: std::mem::take(&mut self.held), stop: Some(number) };
        }
        let kept = self.stops.iter().map(|stop| beginning_at_the_end(&self.held, stop)).max().unwrap_or(0);
        let held = self.held.split_off(self.held.len() - kept);
        SearchedText { text: std::mem::replace(&mut self.held, held), stop: None }
    }

    /// Returns the text that was held back, because none follows that could complete a stop sequence.
    pub fn rest(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// Returns how many bytes at the end of `text` are the beginning of `stop`, but not all of it.
fn beginning_at_the_end(text: &str, stop: &str) -> usize {
    let longest = text.len().min(stop.len() - 1);
    let is_beginning = |length: &usize| stop.is_char_boundary(*length) && text.ends_with(&stop[..*length]);
    (1..=longest).rev().find(is_beginning).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text that is passed on, and the stop sequence that ended it.
    fn search(stops: &[&str], pieces: &[&str]) -> (String, Option<usize>) {
        let mut search = StopSearch::of(stops.iter().map(|stop| (*stop).to_owned()).collect());
        let mut text = String::new();
        for piece in pieces {
            let passed = search.pass(piece);
            text.push_str(&passed.text);
            if passed.stop.is_some() {
                return (text, passed.stop);
            }
        }
        text.push_str(&search.rest());
        (text, None)
    }

    #[test]
    fn the_text_ends_before_the_stop_sequence_in_any_pieces() {
        for (stops, text, said, stop) in [
            (&["END"][..], "one END two", "one ", Some(0)),
            (&["END"], "one EN", "one EN", None),
            (&["END"], "EENEND", "EEN", Some(0)),
            (&["aab"], "aaab", "a", Some(0)),
            (&["x", "two"], "one two", "one ", Some(1)),
            (&["abc", "b"], "abc", "a", Some(1)),
            (&["b", "ab"], "ab", "", Some(1)),
            (&["\n\n"], "a\nb\n\nc", "a\nb", Some(0)),
            (&["ü🙂"], "grün ü🙂", "grün ", Some(0)),
            (&["ü🙂"], "ü🙁", "ü🙁", None),
            (&[], "one", "one", None),
        ] {
            let letters: Vec<String> = text.chars().map(String::from).collect();
            let letters: Vec<&str> = letters.iter().map(String::as_str).collect();
            for pieces in [vec![text], letters] {
                assert_eq!(search(stops, &pieces), (said.to_owned(), stop), "{stops:?} in {pieces:?}");
            }
        }
    }

    #[test]
    fn only_what_may_begin_a_stop_sequence_is_held_back() {
        let mut search = StopSearch::of(vec!["stop here".into(), "\n\n".into()]);

        for (piece, text) in [("Hello", "Hello"), (" st", " "), ("ar", "star"), ("t\n", "t"), ("a", "\na")] {
            assert_eq!(search.pass(piece), SearchedText { text: text.into(), stop: None }, "{piece}");
        }
        assert_eq!(search.rest(), "");
    }
}
