//! Lines of CSV that every reader takes apart in the same way, and no spreadsheet runs.

/// A line of CSV by RFC 4180, every field quoted and none of them a formula.
pub fn csv_line(out: &mut Vec<u8>, cells: &[String]) {
    let mut writer = csv::WriterBuilder::new()
        .quote_style(csv::QuoteStyle::Always)
        .terminator(csv::Terminator::CRLF)
        .from_writer(out);
    // Writing to a Vec can't fail.
    let _ = writer.write_record(cells.iter().map(|cell| harmless(cell)));
}

/// A cell that a spreadsheet would run as a formula gets one apostrophe in front, and so does one that begins with an
/// apostrophe: a reader takes exactly one away. A NUL, at which some readers end, is written `␀0`, and `␀` itself `␀␀`.
fn harmless(cell: &str) -> String {
    let risky = cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '\0', '\'', '＝', '＋', '－', '＠']);
    let apostrophe = if risky { "'" } else { "" };
    if cell.contains(['\0', '␀']) {
        format!("{apostrophe}{}", cell.replace('␀', "␀␀").replace('\0', "␀0"))
    } else {
        format!("{apostrophe}{cell}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_begins_like_a_formula_and_one_apostrophe_gives_the_text_back() {
        for text in ["=1+1", "+1", "-1", "@x", "\tx", "\r", "\n", "'quoted", "＝1", "plain", "", "a=b"] {
            let cell = harmless(text);

            assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝']), "{text:?}");
            let back = cell.strip_prefix('\'').unwrap_or(&cell);
            assert_eq!(back, text);
        }
    }

    #[test]
    fn every_line_has_the_same_number_of_quoted_fields() {
        let mut out = Vec::new();

        csv_line(&mut out, &["a\"b,c\r\nd".to_owned(), "=x".to_owned()]);

        assert_eq!(String::from_utf8(out).unwrap(), "\"a\"\"b,c\r\nd\",\"'=x\"\r\n");
    }
}
