//! `[disk]`: how much must stay free on the disk of the data folder.

use crate::config::reader::Reader;
use crate::config::values::number;

/// The marks as they were configured; `None`: they follow the size of the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskSection {
    pub free_bytes_min: Option<u64>,
    pub free_bytes_warn: Option<u64>,
}

impl DiskSection {
    pub fn read(reader: &mut Reader) -> Self {
        let bytes = number(0, 1 << 50);
        let some = |bytes: u64| Some(bytes).filter(|bytes| *bytes > 0);
        let section = DiskSection {
            free_bytes_min: some(reader.key(
                "disk.free_bytes_min",
                "0",
                "With fewer bytes free on the disk of the data folder, requests to models are refused (503), so that those that \
                 run can still be recorded; all else goes on. 0 means 5 % of the disk, 1 GiB at most.\n\
                 What runs writes at most `audit.queue_bytes_max` at once, and the database moves it from its log to its file, \
                 so a value of your own should be at least twice that.",
                &bytes,
            )),
            free_bytes_warn: some(reader.key(
                "disk.free_bytes_warn",
                "0",
                "With fewer bytes free, admins are warned. 0 means 15 % of the disk, 4 GiB at most; never less than \
                 `disk.free_bytes_min`.",
                &bytes,
            )),
        };
        if let DiskSection { free_bytes_min: Some(min), free_bytes_warn: Some(warn) } = section
            && warn < min
        {
            let message = format!("{warn} is less than the {min} of `disk.free_bytes_min`");
            reader.problem("disk.free_bytes_warn", message);
        }
        section
    }
}
