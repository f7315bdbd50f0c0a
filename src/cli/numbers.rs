//! Numbers as arguments: within bounds, and with an error that names them.

use std::fmt::Display;
use std::str::FromStr;

/// Returns a parser of numbers from `least` to `most`.
pub fn within<T>(least: T, most: T) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: FromStr + PartialOrd + Display + Copy + Send + Sync + 'static,
{
    move |text| {
        let number = text.parse().ok().filter(|number| least <= *number && *number <= most);
        number.ok_or_else(|| format!("it must be a number from {least} to {most}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_within_its_bounds() {
        let parse = within(1_u32, 100);

        assert_eq!([parse("1"), parse("100")], [Ok(1), Ok(100)]);
        for wrong in ["0", "101", "-1", "", "many", "1.5", "99999999999"] {
            assert_eq!(parse(wrong), Err("it must be a number from 1 to 100".to_owned()), "{wrong}");
        }
    }
}
