use crate::rules::{audit, queue::{Place, Queue}};
use super::thing;
// use crate::http; a comment is not an import

#[cfg(test)]
mod tests {
    use crate::rules::policy::Policy;
}
