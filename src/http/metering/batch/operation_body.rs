//! The OpenAPI schema of a batch operation: the body of its call plus `op` and `idempotencyKey`.

use std::borrow::Cow;

use utoipa::openapi::schema::{Discriminator, ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use super::Op;
use crate::http::metering::call::ReserveBody;
use crate::http::metering::commit::CommitBody;
use crate::http::metering::extend::ExtendBody;
use crate::http::metering::release::ReleaseBody;
use crate::http::metering::track::TrackBody;

/// One operation of a batch.
pub struct OperationBody;

impl OperationBody {
    const fn name_of(op: Op) -> &'static str {
        match op {
            Op::Reserve => "ReserveOperation",
            Op::Commit => "CommitOperation",
            Op::Release => "ReleaseOperation",
            Op::Extend => "ExtendOperation",
            Op::Track => "TrackOperation",
            Op::CanUse => "CanUseOperation",
        }
    }

    fn schema_of(op: Op) -> RefOr<Schema> {
        let body = match op {
            Op::Reserve | Op::CanUse => ReserveBody::schema(),
            Op::Commit => CommitBody::schema(),
            Op::Release => ReleaseBody::schema(),
            Op::Extend => ExtendBody::schema(),
            Op::Track => TrackBody::schema(),
        };
        let RefOr::T(Schema::Object(mut object)) = body else { return body };
        let name = ObjectBuilder::new().schema_type(Type::String).enum_values(Some([op.as_str()]));
        let key = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(255));
        let key = key.description(Some("As the `Idempotency-Key` of the call alone."));
        object.description = Some(format!("`POST {}` as an operation of a batch.", op.as_str()));
        object.properties.insert("op".to_owned(), RefOr::T(Schema::Object(name.build())));
        object.properties.insert("idempotencyKey".to_owned(), RefOr::T(Schema::Object(key.build())));
        object.required.push("op".to_owned());
        RefOr::T(Schema::Object(object))
    }
}

impl PartialSchema for OperationBody {
    fn schema() -> RefOr<Schema> {
        let reference = |op: Op| format!("#/components/schemas/{}", Self::name_of(op));
        let mapping = Op::ALL.map(|op| (op.as_str(), reference(op)));
        let one_of = OneOfBuilder::new()
            .description(Some("One operation of a batch: which call it is, and the body of that call."))
            .discriminator(Some(Discriminator::with_mapping("op", mapping)));
        let one_of = Op::ALL.into_iter().fold(one_of, |one_of, op| one_of.item(Ref::new(reference(op))));
        RefOr::T(Schema::OneOf(one_of.build()))
    }
}

impl ToSchema for OperationBody {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("OperationBody")
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        for op in Op::ALL {
            schemas.push((Self::name_of(op).to_owned(), Self::schema_of(op)));
        }
        ReserveBody::schemas(schemas);
        CommitBody::schemas(schemas);
        ReleaseBody::schemas(schemas);
        ExtendBody::schemas(schemas);
        TrackBody::schemas(schemas);
    }
}
