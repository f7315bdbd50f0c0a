use crate::store::words::Word;
