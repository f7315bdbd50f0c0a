use diesel::prelude::*;

fn f() -> actix_web::HttpResponse {}
