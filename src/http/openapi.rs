//! `/openapi.json`, generated from the code; `docs/openapi.json` is its checked-in copy.

use std::sync::LazyLock;

use actix_web::{HttpResponse, web};
use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Ref, RefOr, Required, Response};

use crate::http::access::{apps, audit, keys, sessions};
use crate::http::accounts::{approvals, counters, credits, grants, limits, subscriptions, users};
use crate::http::configuration::{apply, plans, policies, settings, test_clock};
use crate::http::metering::{batch, can_use, commit, extend, release, reserve, track, usage};
use crate::http::nodes::{health, registry};
use crate::http::reporting::{estimates, events, explain, history, reports};
use crate::http::simulation::whatif;
use crate::http::webhooks::{alerts, endpoints};

#[derive(OpenApi)]
#[openapi(
    info(title = "quotagate", description = "Quotas for applications that resell AI capacity: reserve, commit, release."),
    security(("key" = []), ("apiKey" = [])),
    modifiers(&Key, &OperationNames, &OptionalBodies, &OperatorHeaders, &CommonAnswers),
    paths(
        reserve::reserve, commit::commit, release::release, release::outcome, release::release_by_hand, extend::extend, track::track, can_use::can_use, batch::batch,
        usage::get_usage, usage::stream_usage, history::history, explain::explain, explain::draft::explain_draft,
        events::list, events::stream,
        subscriptions::subscribe, subscriptions::cancel,
        users::list, users::get, users::put, users::block, users::unblock, users::reset,
        credits::create, credits::list, credits::void,
        grants::create, grants::list, grants::delete,
        limits::put, limits::list, limits::delete,
        plans::list, plans::get, plans::put, plans::delete, plans::versions, plans::rollback,
        policies::list, policies::get, policies::put, policies::delete, policies::versions, policies::rollback, policies::review,
        approvals::list, approvals::get, approvals::approve, approvals::reject, approvals::reopen,
        endpoints::list, endpoints::get, endpoints::put, endpoints::delete, endpoints::rotate_secret, endpoints::deliveries, endpoints::resend,
        alerts::list, counters::list,
        reports::usage, reports::unusual, reports::forecast, reports::limits, estimates::estimates, whatif::whatif,
        settings::get, settings::put, apply::get, apply::put, audit::list,
        keys::create, keys::list, keys::delete,
        sessions::create, sessions::get, sessions::delete,
        apps::create, apps::list, apps::delete,
        test_clock::put, test_clock::get, test_clock::delete, test_clock::sandboxes, registry::list,
        health::healthz, health::readyz, health::metrics,
    )
)]
struct Api;

/// Names operations by their resource: `plans.list`.
struct OperationNames;

impl utoipa::Modify for OperationNames {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        for item in openapi.paths.paths.values_mut() {
            let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete];
            for operation in operations.into_iter().flatten() {
                let tag = operation.tags.iter().flatten().next().map(|tag| tag.to_lowercase().replace(' ', "-"));
                operation.operation_id = tag.zip(operation.operation_id.take()).map(|(tag, id)| format!("{tag}.{id}"));
            }
        }
    }
}

/// Marks errors as `application/problem+json`, whatever the operation declares.
fn name_problem(response: &mut RefOr<Response>) {
    let RefOr::T(response) = response else { return };
    let is_problem =
        |schema: &RefOr<Schema>| matches!(schema, RefOr::Ref(name) if name.ref_location.ends_with("/Problem"));
    let content = std::mem::take(&mut response.content).into_iter();
    let named = content.map(|(kind, content)| {
        let problem = matches!(&content, RefOr::T(content) if content.schema.as_ref().is_some_and(is_problem));
        (if problem { "application/problem+json".to_owned() } else { kind }, content)
    });
    response.content = named.collect();
}

/// An answer may contain the body's schema plus more fields, so the body's schema must allow additional ones there.
fn open_parents(openapi: &mut utoipa::openapi::OpenApi) {
    let Some(components) = &mut openapi.components else { return };
    let mut parents = Vec::new();
    for schema in components.schemas.values() {
        let RefOr::T(Schema::AllOf(all)) = schema else { continue };
        let names = all.items.iter().filter_map(|item| match item {
            RefOr::Ref(parent) => parent.ref_location.rsplit('/').next().map(str::to_owned),
            RefOr::T(_) => None,
        });
        parents.extend(names);
    }
    for name in parents {
        if let Some(RefOr::T(Schema::Object(parent))) = components.schemas.get_mut(&name) {
            parent.additional_properties = None;
        }
    }
}

/// Headers of the operations for operators: which app and mode they act on.
struct OperatorHeaders;

impl OperatorHeaders {
    const HEADERS: [(&str, &str, &str); 2] = [
        (
            "mode",
            "X-Mode",
            "What an admin key works on: `live` (the default), `test`, or `test/<sandbox>`. Other keys have a mode of \
                their own, and may only name that one.",
        ),
        (
            "app",
            "X-App",
            "The app that the root admin key works on, `default` unless named. Other keys have an app of their own, \
                and may only name that one.",
        ),
    ];

    /// Operations that need a key, except the metering calls, which are for applications.
    fn take(operation: &Operation) -> bool {
        let metering = operation.tags.iter().flatten().any(|tag| ["Metering", "Session"].contains(&tag.as_str()));
        !metering && operation.responses.responses.contains_key("401")
    }
}

impl utoipa::Modify for OperatorHeaders {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        for (id, name, description) in Self::HEADERS {
            let header = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Header);
            let header = header.required(Required::False).description(Some(description));
            let text = ObjectBuilder::new().schema_type(Type::String);
            components.parameters.insert(id.to_owned(), RefOr::T(header.schema(Some(text)).build()));
        }
        for item in openapi.paths.paths.values_mut() {
            let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete];
            for operation in operations.into_iter().flatten().filter(|operation| Self::take(operation)) {
                let ids =
                    Self::HEADERS.iter().map(|(id, ..)| RefOr::Ref(Ref::new(format!("#/components/parameters/{id}"))));
                operation.parameters.get_or_insert_default().extend(ids);
                // An invalid mode, or an app or sandbox that does not exist.
                let Some(refusal) = operation.responses.responses.get("401").cloned() else { continue };
                for status in ["400", "404"] {
                    operation.responses.responses.entry(status.to_owned()).or_insert_with(|| refusal.clone());
                }
            }
        }
    }
}

/// Answers that every call with a body, or every call with a key, may get.
struct CommonAnswers;

impl utoipa::Modify for CommonAnswers {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        for item in openapi.paths.paths.values_mut() {
            let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete];
            for operation in operations.into_iter().flatten() {
                operation.responses.responses.values_mut().for_each(name_problem);
                let of_a_key = operation.responses.responses.get("401").cloned();
                let with_body = of_a_key.clone().filter(|_| operation.request_body.is_some());
                // A header that is repeated or cannot be read; a key that is refused too often.
                let further =
                    [("400", of_a_key.clone()), ("408", with_body.clone()), ("415", with_body), ("429", of_a_key)];
                for (status, response) in further {
                    if let Some(response) = response {
                        operation.responses.responses.entry(status.to_owned()).or_insert(response);
                    }
                }
            }
        }
    }
}

/// Marks the bodies of POST and DELETE calls without required fields as optional.
struct OptionalBodies;

impl utoipa::Modify for OptionalBodies {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let schemas = openapi.components.as_ref().map(|components| &components.schemas);
        let needs_nothing = |schema: &RefOr<Schema>| {
            let RefOr::Ref(reference) = schema else { return false };
            let name = reference.ref_location.rsplit('/').next().unwrap_or_default();
            let named = schemas.and_then(|schemas| schemas.get(name));
            matches!(named, Some(RefOr::T(Schema::Object(object))) if object.required.is_empty())
        };
        for item in openapi.paths.paths.values_mut() {
            for operation in [&mut item.post, &mut item.delete].into_iter().flatten() {
                let Some(RefOr::T(body)) = &mut operation.request_body else { continue };
                let schema = body.content.values().find_map(|content| match content {
                    RefOr::T(content) => content.schema.as_ref(),
                    RefOr::Ref(_) => None,
                });
                if schema.is_some_and(needs_nothing) {
                    body.required = Some(Required::False);
                }
            }
        }
    }
}

struct Key;

impl utoipa::Modify for Key {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        components.add_security_scheme("key", bearer);
        components.add_security_scheme("apiKey", SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-Api-Key"))));
    }
}

// Built once: the document is public, and building it takes far longer than a call.
static DOCUMENTED: LazyLock<utoipa::openapi::OpenApi> = LazyLock::new(Api::openapi);
static SERVED: LazyLock<Option<web::Bytes>> = LazyLock::new(|| document().ok().map(web::Bytes::from));

/// The methods of a path: those in the document, and preflights where browsers may read.
pub fn methods(path: &str) -> Vec<&'static str> {
    let documented = match path {
        "/openapi.json" => vec!["GET"],
        "/" | "/docs" | "/assets/{path:.*}" => vec!["GET", "HEAD"],
        _ => DOCUMENTED.paths.paths.get(path).map_or_else(Vec::new, |item| {
            let has = [("DELETE", &item.delete), ("GET", &item.get), ("POST", &item.post), ("PUT", &item.put)];
            has.into_iter().filter(|(_, operation)| operation.is_some()).map(|(method, _)| method).collect()
        }),
    };
    let browsers =
        ["/api/v1/usage", "/api/v1/usage/stream", "/api/v1/usage/history", "/api/v1/plans", "/api/v1/plans/{id}"];
    let mut methods = documented;
    if browsers.contains(&path) {
        methods.push("OPTIONS");
    }
    methods.sort_unstable();
    methods
}

/// The document, pretty-printed.
///
/// # Errors
/// None in practice: the document is JSON.
pub fn document() -> Result<String, serde_json::Error> {
    let mut openapi = Api::openapi();
    open_parents(&mut openapi);
    serde_json::to_string_pretty(&openapi).map(|text| text + "\n")
}

/// The JSON Schema of configuration files, pretty-printed.
///
/// # Errors
/// None in practice: the document is JSON.
pub fn configuration_schema() -> Result<String, serde_json::Error> {
    let api = serde_json::to_value(Api::openapi())?;
    let text = api["components"]["schemas"].to_string().replace("#/components/schemas/", "#/$defs/");
    let all: serde_json::Value = serde_json::from_str(&text)?;
    let mut schema = all["Configuration"].clone();
    let mut needed = vec![schema.to_string()];
    let mut defs = serde_json::Map::new();
    while let Some(text) = needed.pop() {
        for name in text.split("#/$defs/").skip(1).filter_map(|rest| rest.split('"').next()) {
            if !defs.contains_key(name) {
                needed.push(all[name].to_string());
                defs.insert(name.to_owned(), all[name].clone());
            }
        }
    }
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["title"] = "quotagate configuration".into();
    schema["$defs"] = defs.into();
    serde_json::to_string_pretty(&schema).map(|text| text + "\n")
}

pub async fn serve() -> HttpResponse {
    match &*SERVED {
        Some(text) => HttpResponse::Ok().content_type("application/json").body(text.clone()),
        None => HttpResponse::InternalServerError().finish(),
    }
}
