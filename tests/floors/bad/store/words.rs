use crate::store::users::User;
