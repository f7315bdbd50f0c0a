//! CSV that every reader splits in the same way, and in which no spreadsheet finds a formula.
//!
//! # The rule
//!
//! Lines end with CRLF, fields are separated by commas, and every field is quoted. Spreadsheets with another separator open
//! such a file, too: Excel's is `;` where numbers use a decimal comma, and tab and `|` are in use. For them only the first
//! field of a line begins with a quote, so quotes mean nothing, and each `;` and each line end *inside* a text begins a new
//! cell. So a cell may begin in two kinds of places: at the start of a text, and after one of `EDGES`. What begins there like a
//! formula gets one apostrophe in front:
//!
//! - At an edge, an apostrophe is inserted before an apostrophe or one of `TRIGGERS`, ignoring quotes between them (`"=1`: some
//!   readers drop the quotes).
//! - At the start of a text, also when it begins with a tab, a line end or a NUL, which some readers drop.
//! - A NUL, at which some readers stop, is written `␀0`, and `␀` itself `␀␀`.
//!
//! A reader removes one apostrophe at the start of a text and after each edge, where there is one; then it replaces `␀0` by
//! NUL and `␀␀` by `␀`. That restores every byte: after an edge there is an apostrophe if and only if one was inserted. The comma
//! is no edge: a reader that splits at commas finds a quote at the beginning of each field.

/// Marks a CSV as UTF-8 for spreadsheets. Without it, Excel uses the machine's old code page.
pub const BYTE_ORDER_MARK: &str = "\u{feff}";

/// Characters that begin a formula.
const TRIGGERS: [char; 8] = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];

/// Characters after which a cell may begin: separators besides the comma, and everything that some reader takes for a line end.
const EDGES: [char; 13] =
    [';', '\t', '|', '\r', '\n', '\u{b}', '\u{c}', '\u{1c}', '\u{1d}', '\u{1e}', '\u{85}', '\u{2028}', '\u{2029}'];

/// Writes a line of CSV (RFC 4180): every field quoted and none of them a formula, whichever separator a reader uses.
pub fn csv_line(out: &mut Vec<u8>, cells: &[String]) {
    let mut writer = csv::WriterBuilder::new()
        .quote_style(csv::QuoteStyle::Always)
        .terminator(csv::Terminator::CRLF)
        .from_writer(out);
    // Writing to a Vec can't fail.
    let _ = writer.write_record(cells.iter().map(|cell| harmless(cell)));
}

fn harmless(cell: &str) -> String {
    let mut out = String::with_capacity(cell.len() + 1);
    if cell.starts_with(['\t', '\r', '\n', '\0']) || begins_formula(cell) {
        out.push('\'');
    }
    let mut rest = cell;
    while let Some(at) = rest.find(|letter| EDGES.contains(&letter) || matches!(letter, '\0' | '␀')) {
        let (before, found) = rest.split_at(at);
        out.push_str(before);
        let mut letters = found.chars();
        match letters.next() {
            Some('\0') => out.push_str("␀0"),
            Some('␀') => out.push_str("␀␀"),
            Some(edge) => {
                out.push(edge);
                if begins_formula(letters.as_str()) {
                    out.push('\'');
                }
            }
            None => {}
        }
        rest = letters.as_str();
    }
    out.push_str(rest);
    out
}

/// Returns whether a cell needs an apostrophe in front. One that begins with an apostrophe needs another, to be read back.
fn begins_formula(text: &str) -> bool {
    text.starts_with('\'') || text.trim_start_matches('"').starts_with(TRIGGERS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads a cell back by the rule.
    fn restored(cell: &str) -> String {
        let mut out = String::new();
        let mut letters = cell.chars().peekable();
        letters.next_if_eq(&'\'');
        while let Some(letter) = letters.next() {
            match letter {
                '␀' if letters.next() == Some('0') => out.push('\0'),
                letter => out.push(letter),
            }
            if EDGES.contains(&letter) {
                letters.next_if_eq(&'\'');
            }
        }
        out
    }

    fn line(cells: &[&str]) -> String {
        let mut out = Vec::new();
        csv_line(&mut out, &cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>());
        String::from_utf8(out).unwrap()
    }

    /// Returns the cells that a reader with this separator finds. In a field that does not begin with a quote, a quote is a
    /// letter; what follows a closing quote belongs to the field. Python's csv and the spreadsheets do so.
    fn cells(text: &str, separator: char) -> Vec<String> {
        let mut cells = vec![String::new()];
        let (mut quoted, mut begins) = (false, true);
        let mut letters = text.chars().peekable();
        while let Some(letter) = letters.next() {
            let cell = cells.last_mut().unwrap();
            match letter {
                '"' if begins => quoted = true,
                '"' if quoted && letters.next_if_eq(&'"').is_some() => cell.push('"'),
                '"' if quoted => quoted = false,
                letter if !quoted && (letter == separator || letter == '\r' || letter == '\n') => {
                    cells.push(String::new());
                    begins = true;
                    continue;
                }
                letter => cell.push(letter),
            }
            begins = false;
        }
        cells
    }

    /// A reader that ignores and drops all quotes.
    fn cells_without_quotes(text: &str, separator: char) -> Vec<String> {
        text.split([separator, '\r', '\n']).map(|cell| cell.trim_start_matches('"').to_owned()).collect()
    }

    fn is_live(cell: &str) -> bool {
        cell.starts_with(TRIGGERS) || cell.starts_with('\0')
    }

    fn live_cells(text: &str) -> Vec<(char, String)> {
        let mut live = Vec::new();
        for separator in [',', ';', '\t', '|'] {
            let mut found = cells(text, separator);
            // With the comma, quotes do mean something: every field begins with one.
            if separator != ',' {
                found.extend(cells_without_quotes(text, separator));
            }
            live.extend(found.into_iter().filter(|cell| is_live(cell)).map(|cell| (separator, cell)));
        }
        live
    }

    #[test]
    fn no_cell_begins_like_a_formula_and_an_apostrophe_less_gives_the_text_back() {
        for (text, written) in [
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@x", "'@x"),
            ("\tx", "'\tx"),
            ("\r", "'\r"),
            ("\n", "'\n"),
            ("\0", "'␀0"),
            ("'quoted", "''quoted"),
            ("＝1", "'＝1"),
            ("\"=1", "'\"=1"),
            ("plain", "plain"),
            ("", ""),
            ("a=b", "a=b"),
            ("it's", "it's"),
            ("␀", "␀␀"),
            ("text;=2+2;x", "text;'=2+2;x"),
            ("a;\"=2", "a;'\"=2"),
            ("a|-1\t@b", "a|'-1\t'@b"),
            ("a;'b", "a;''b"),
            ("a;b; =c", "a;b; =c"),
            ("a,=b", "a,=b"),
            ("points:\r\n- one\r\n\r\n- two\n", "points:\r\n'- one\r\n\r\n'- two\n"),
            ("\n\n'=", "'\n\n''="),
            ("a\u{2028}=b", "a\u{2028}'=b"),
        ] {
            assert_eq!(harmless(text), written, "{text:?}");
            assert_eq!(restored(written), text);
            assert_eq!(live_cells(&line(&["1", text, "x"])), [], "{text:?}");
        }
    }

    #[test]
    fn what_makes_a_live_cell_without_the_rule_is_seen_by_the_tests_readers() {
        assert!(cells("\"1\",\"a;=2\"\r\n", ';').contains(&"=2\"".to_owned()));
        assert!(cells("\"1\",\"a;\"\"=2\"\r\n", ';').contains(&"=2\"".to_owned()));
        assert!(cells("\"1\",\"a\n=2\"\r\n", '\t').contains(&"=2\"".to_owned()));
        assert_eq!(cells("\"a\"\"b\",\"c;=d\"", ','), ["a\"b", "c;=d"]);
    }

    /// Texts in which edges, triggers, quotes and apostrophes are as frequent as letters.
    fn nasty_text() -> impl Strategy<Value = String> {
        let letters = "[a=+@;|,'\"\t\r\n\u{0}␀0＝\u{85}\u{2028} -]{0,24}";
        prop_oneof![4 => letters, 1 => any::<String>()]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

        #[test]
        fn no_separator_makes_a_live_cell_and_every_text_comes_back(
            rows in proptest::collection::vec(proptest::collection::vec(nasty_text(), 3), 1..4),
        ) {
            let mut out = Vec::new();
            rows.iter().for_each(|row| csv_line(&mut out, row));
            let text = String::from_utf8(out).unwrap();

            prop_assert_eq!(live_cells(&text), []);
            let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(false).from_reader(text.as_bytes());
            let read: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
            prop_assert_eq!(read.len(), rows.len());
            for (cells, texts) in read.iter().zip(&rows) {
                for (cell, text) in cells.iter().zip(texts) {
                    prop_assert!(!cell.starts_with(['\t', '\r', '\n', '\0']), "{:?}", cell);
                    prop_assert_eq!(&restored(cell), text);
                }
            }
        }
    }

    #[test]
    fn every_line_has_the_same_number_of_quoted_fields() {
        assert_eq!(line(&["a\"b,c\r\nd", "=x"]), "\"a\"\"b,c\r\nd\",\"'=x\"\r\n");
    }
}
