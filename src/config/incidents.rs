//! `[incidents]`: reports about a time.

use crate::config::reader::Reader;
use crate::config::values::number;

#[derive(Debug, Clone)]
pub struct IncidentsSection {
    /// The longest time that one report may be about, in hours.
    pub window_hours_max: u32,
}

impl IncidentsSection {
    pub fn read(reader: &mut Reader) -> Self {
        IncidentsSection {
            window_hours_max: reader.key(
                "incidents.window_hours_max",
                "168",
                "The longest time that one incident report may be about, in hours. Every row of that time is read.",
                number(1, 24 * 366),
            ) as u32,
        }
    }
}
