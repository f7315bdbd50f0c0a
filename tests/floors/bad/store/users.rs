use crate::store::tokens::Token;

#[derive(Faces(by = crate::dialect::Face))]
struct User;
