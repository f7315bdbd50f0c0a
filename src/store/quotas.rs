//! Quotas as columns, the same ones in two tables.

use diesel::prelude::*;

use crate::model::rights::quotas::Quotas;
use crate::store::schema::{tokens, users};

macro_rules! columns {
    ($row:ident of $table:ident: $($name:ident),+) => {
        #[derive(Debug, Clone, Copy, Queryable, Selectable, Insertable, AsChangeset)]
        #[diesel(table_name = $table, treat_none_as_null = true)]
        pub struct $row {
            $($name: Option<i64>,)+
        }

        impl From<$row> for Quotas {
            fn from(row: $row) -> Quotas {
                Quotas { $($name: row.$name.map(stored),)+ }
            }
        }

        impl From<Quotas> for $row {
            fn from(quotas: Quotas) -> $row {
                $row { $($name: quotas.$name.map(|quota| i64::try_from(quota).unwrap_or(i64::MAX)),)+ }
            }
        }
    };
}

columns!(OfUser of users: tokens_per_minute, requests_per_day, tokens_per_day, gpu_seconds_per_day, answer_tokens_max, context_tokens_max);
columns!(OfToken of tokens: tokens_per_minute, requests_per_day, tokens_per_day, gpu_seconds_per_day, answer_tokens_max, context_tokens_max);

/// Reads a stored quota. A number that can't be read allows nothing.
fn stored(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
