use crate::{error::Error, queue::{Place, Queue}, audit};
use super::thing;
// use crate::http; a comment is not an import
