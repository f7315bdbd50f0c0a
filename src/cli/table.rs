//! Tables on a terminal: aligned columns, numbers to the right.

use crate::base::text::visible;

/// Prints rows under their titles, without characters that a terminal would obey. Empty lists are the caller's business.
pub fn print<const N: usize>(titles: [&str; N], rows: &[[String; N]]) {
    print!("{}", text(titles, rows));
}

fn text<const N: usize>(titles: [&str; N], rows: &[[String; N]]) -> String {
    let titles = titles.map(visible);
    let titles: [&str; N] = std::array::from_fn(|column| titles[column].as_ref());
    let rows: Vec<[String; N]> =
        rows.iter().map(|row| std::array::from_fn(|column| visible(&row[column]).into_owned())).collect();
    let widths: Vec<usize> = (0..N)
        .map(|column| {
            let cells = rows.iter().map(|row| row[column].chars().count());
            cells.chain([titles[column].chars().count()]).max().unwrap_or(0)
        })
        .collect();
    let is_number = |cell: &String| cell.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let to_the_right: Vec<bool> = (0..N).map(|column| rows.iter().all(|row| is_number(&row[column]))).collect();
    let line = |cells: Vec<&str>| {
        let mut line = String::new();
        for (column, cell) in cells.into_iter().enumerate() {
            let gap = " ".repeat(widths[column] - cell.chars().count());
            let (before, after) = if to_the_right[column] { (gap.as_str(), "") } else { ("", gap.as_str()) };
            line.extend([before, cell, after, "  "]);
        }
        format!("{}\n", line.trim_end())
    };
    let body = rows.iter().map(|row| line(row.iter().map(String::as_str).collect()));
    std::iter::once(line(titles.to_vec())).chain(body).collect()
}

/// Returns a time without its seconds, for people.
pub fn minute(rfc3339: &str) -> String {
    rfc3339.get(..16).unwrap_or(rfc3339).replace('T', " ")
}

/// Returns the date of a time.
pub fn day(rfc3339: &str) -> &str {
    rfc3339.get(..10).unwrap_or(rfc3339)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_their_titles_and_numbers_to_the_right() {
        let row = |name: &str, count: &str, note: &str| [name, count, note].map(str::to_owned);

        let table = text(["NAME", "COUNT", "NOTE"], &[row("größer", "7", ""), row("b", "1234567", "x")]);

        assert_eq!(table, "NAME      COUNT  NOTE\ngrößer        7\nb       1234567  x\n");
    }

    #[test]
    fn no_cell_reaches_the_terminal_with_a_control() {
        let table = text(["NAME"], &[["\u{1b}[2J\u{202e}\n".to_owned()]]);

        assert_eq!(table, "NAME\n\\u{1b}[2J\\u{202e}\\u{a}\n");
    }
}
