//! The text around what a search has found, with the found words marked.
//!
//! The search index keeps no texts. So the text of each request on a page is put into an index of its own, in memory, and SQLite
//! marks in it what the same search finds, by the same rules for words.

use std::collections::HashMap;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text};

use crate::base::error::Error;
use crate::store::schema::record_part;
use crate::store::search::Search;
use crate::store::{Store, words};

/// Characters of one snippet.
pub const SNIPPET_CHARS: usize = 200;

/// Characters that are kept before the first found word.
const LEAD_CHARS: usize = 60;

/// Words from which SQLite chooses a snippet; 64 is the most that it allows.
const SNIPPET_WORDS: usize = 40;

/// A longer request has no snippet: it would have to be read whole.
const REQUEST_BYTES_MAX: i64 = 512 * 1024;

/// Requests that are read for one page. Those after them have no snippet.
const PAGE_BYTES_MAX: i64 = 8 * 1024 * 1024;

/// Marks around a found word. In texts they are blanks.
const BEGIN: char = '\u{1}';
const END: char = '\u{2}';

/// A part of a snippet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnippetPiece {
    pub text: String,
    /// Whether it was searched for.
    pub hit: bool,
}

impl Store {
    /// Returns the text around the first words that `search` finds, by the log_id under which a request's contents are kept. Very
    /// long requests, and those beyond a bound for the page, are left out.
    pub async fn snippets(&self, search: Search, requests: Vec<i64>) -> Result<HashMap<i64, Vec<SnippetPiece>>, Error> {
        if requests.is_empty() {
            return Ok(HashMap::new());
        }
        self.read(move |connection| snippets(connection, &search, requests)).await
    }
}

fn snippets(
    connection: &mut SqliteConnection,
    search: &Search,
    requests: Vec<i64>,
) -> QueryResult<HashMap<i64, Vec<SnippetPiece>>> {
    let mut marker = Marker::new()?;
    let (mut found, mut read) = (HashMap::new(), 0);
    for log_id in requests {
        if read >= PAGE_BYTES_MAX {
            break;
        }
        let bytes: Option<i64> = record_part::table
            .filter(record_part::log_id.eq(log_id))
            .select(diesel::dsl::sql::<Nullable<BigInt>>("sum(length(body))"))
            .first(connection)?;
        let bytes = bytes.unwrap_or(0);
        if bytes == 0 || bytes > REQUEST_BYTES_MAX {
            continue;
        }
        read += bytes;
        let said = words::said(connection, log_id)?;
        found.extend(marker.mark(&said, search)?.map(|snippet| (log_id, snippet)));
    }
    Ok(found)
}

/// An index of one text at a time, in memory.
struct Marker(SqliteConnection);

#[derive(QueryableByName)]
struct Marked {
    #[diesel(sql_type = Text)]
    text: String,
}

impl Marker {
    fn new() -> QueryResult<Marker> {
        let opened = SqliteConnection::establish(":memory:");
        let mut memory = opened.map_err(|cause| diesel::result::Error::QueryBuilderError(cause.into()))?;
        // The tokenizer is that of `record_words`.
        memory
            .batch_execute("CREATE VIRTUAL TABLE found USING fts5(said, tokenize='unicode61 remove_diacritics 2')")?;
        Ok(Marker(memory))
    }

    /// Returns the text around what is found; `None`: nothing is.
    fn mark(&mut self, said: &str, search: &Search) -> QueryResult<Option<Vec<SnippetPiece>>> {
        let plain = |c: char| if c.is_whitespace() || ['\0', BEGIN, END].contains(&c) { ' ' } else { c };
        let said: String = said.chars().map(plain).collect();
        diesel::sql_query("INSERT INTO found (rowid, said) VALUES (1, ?)")
            .bind::<Text, _>(said)
            .execute(&mut self.0)?;
        let marked: Option<Marked> = diesel::sql_query(format!(
            "SELECT snippet(found, 0, char({}), char({}), '…', {SNIPPET_WORDS}) AS text FROM found WHERE found MATCH ?",
            u32::from(BEGIN),
            u32::from(END),
        ))
        .bind::<Text, _>(search.expression())
        .get_result(&mut self.0)
        .optional()?;
        diesel::sql_query("DELETE FROM found").execute(&mut self.0)?;
        Ok(marked.map(|marked| cut(pieces(&marked.text))))
    }
}

fn pieces(marked: &str) -> Vec<SnippetPiece> {
    let mut pieces = Vec::new();
    for (at, part) in marked.split(BEGIN).enumerate() {
        let (hit, rest) = if at == 0 { ("", part) } else { part.split_once(END).unwrap_or((part, "")) };
        for (text, hit) in [(hit, true), (rest, false)] {
            if !text.is_empty() {
                pieces.push(SnippetPiece { text: text.to_owned(), hit });
            }
        }
    }
    pieces
}

/// Shortens a snippet to its bound: words may be of any length.
fn cut(pieces: Vec<SnippetPiece>) -> Vec<SnippetPiece> {
    let length = |piece: &SnippetPiece| piece.text.chars().count();
    let before: usize = pieces.iter().take_while(|piece| !piece.hit).map(length).sum();
    let whole: usize = pieces.iter().map(length).sum();
    // What is left out before is no more than what would be left out behind.
    let mut skip = before.saturating_sub(LEAD_CHARS).min(whole.saturating_sub(SNIPPET_CHARS));
    let mut left = SNIPPET_CHARS;
    let mut kept = Vec::new();
    for SnippetPiece { text, hit } in pieces {
        let from = skip.min(text.chars().count());
        let text: String = text.chars().skip(from).take(left).collect();
        skip -= from;
        left -= text.chars().count();
        if !text.is_empty() {
            kept.push(SnippetPiece { text, hit });
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The found words in brackets.
    fn shown(said: &str, text: &str) -> Option<String> {
        let snippet = Marker::new().unwrap().mark(said, &Search::parse(text).unwrap()).unwrap()?;
        Some(
            snippet
                .iter()
                .map(|piece| if piece.hit { format!("[{}]", piece.text) } else { piece.text.clone() })
                .collect(),
        )
    }

    #[test]
    fn found_words_are_marked_as_the_search_finds_them() {
        for (said, text, expected) in [
            ("Wie groß ist die Brücke?", "brucke", Some("Wie groß ist die [Brücke]?")),
            ("the pump\ncontroller of the pump", "\"pump controller\"", Some("the [pump controller] of the pump")),
            ("deployed, and deploys", "deploy*", Some("[deployed], and [deploys]")),
            ("<b>bold</b> \u{1}words\u{2}\0", "words bold", Some("<b>[bold]</b>  [words]  ")),
            ("nothing of it", "other", None),
            ("", "x", None),
        ] {
            assert_eq!(shown(said, text).as_deref(), expected, "{said}");
        }
    }

    #[test]
    fn a_snippet_is_short_and_holds_the_first_found_word() {
        let far = format!("{} zither {}", "left ".repeat(500), "right ".repeat(500));
        let long_words = format!("{} zither {}", "ä".repeat(5000), "b".repeat(5000));
        for said in [far, long_words, "zither ".repeat(500), format!("{} zither", "left ".repeat(500))] {
            let snippet = shown(&said, "zither").unwrap();
            let length = snippet.replace(['[', ']'], "").chars().count();
            assert!(snippet.contains("[zither]") && length <= SNIPPET_CHARS, "{length}: {snippet}");
            assert!(length > 100, "{length}: {snippet}");
        }
    }

    #[test]
    fn a_snippet_of_just_the_bound_is_whole_and_one_character_more_is_cut() {
        let of = |length: usize| vec![SnippetPiece { text: "x".repeat(length), hit: true }];

        assert_eq!(cut(of(SNIPPET_CHARS)), of(SNIPPET_CHARS));
        assert_eq!(cut(of(SNIPPET_CHARS + 1)), of(SNIPPET_CHARS));
    }
}
