//! Authentication and authorisation: who calls, for which app and mode, and what the key allows.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};

use super::header::{Header, presented_key, single};
use super::problem::ApiError;
use super::session_cookie;
use crate::domain::values::ids::{AppId, Mode, UserId};
use crate::http::middleware::cors::AllowedOrigin;
use crate::service::access::key_record::{KeyKind, KeyRecord, Role};
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::service::tenant::Tenant;

/// What a call needs permission for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// reserve, commit, release, extend, track, can-use
    Meter,
    ReadUsage,
    /// The ledger and denials of all users.
    ReadEvents,
    ReadPlans,
    Subscriptions,
    TestClock,
    /// Why calls are allowed or denied.
    Explain,
    /// Users, their counters and grants.
    ReadUsers,
    /// Blocks, resets, grants.
    ManageUsers,
    /// Approval requests.
    Approve,
    ReadConfiguration,
    Configure,
    /// Apps; allowed for the root admin key only.
    Apps,
}

/// An authenticated caller.
pub struct Principal {
    pub key: Arc<KeyRecord>,
    pub tenant: Tenant,
    pub gateway: web::Data<Gateway>,
}

impl Principal {
    /// # Errors
    /// forbidden_key
    pub fn require(&self, access: Access) -> Result<(), ApiError> {
        let role = self.key.role;
        let allowed = match (self.key.kind, access) {
            (
                KeyKind::Secret,
                Access::Meter
                | Access::ReadUsage
                | Access::ReadEvents
                | Access::Explain
                | Access::ReadPlans
                | Access::Subscriptions,
            ) => true,
            (KeyKind::Secret, Access::TestClock) => self.tenant.mode.is_sandbox(),
            (
                KeyKind::Secret,
                Access::ReadUsers
                | Access::ManageUsers
                | Access::Approve
                | Access::ReadConfiguration
                | Access::Configure
                | Access::Apps,
            ) => false,
            (KeyKind::Publishable, access) => matches!(access, Access::ReadUsage | Access::ReadPlans),
            (KeyKind::Admin, Access::Meter) => false,
            (
                KeyKind::Admin,
                Access::ReadUsage
                | Access::ReadEvents
                | Access::Explain
                | Access::ReadPlans
                | Access::ReadUsers
                | Access::ReadConfiguration,
            ) => role.is_some(),
            (KeyKind::Admin, Access::Subscriptions | Access::ManageUsers) => role >= Some(Role::Support),
            (KeyKind::Admin, Access::Approve) => role >= Some(Role::Approver),
            (KeyKind::Admin, Access::TestClock | Access::Configure) => role == Some(Role::Admin),
            (KeyKind::Admin, Access::Apps) => self.key.app.is_none(),
        };
        if allowed {
            return Ok(());
        }
        let what = match self.key.kind {
            KeyKind::Secret => {
                "A secret key only allows metering, subscriptions, explain, reading usage, events and plans, and in a \
                 sandbox the test clock; use an admin key (`ak_…`)."
            }
            KeyKind::Publishable => "A publishable key only allows reading usage and plans.",
            KeyKind::Admin => match access {
                Access::Meter => "An admin key does not allow metering calls; use a secret key (`sk_…`).",
                Access::Subscriptions | Access::ManageUsers => "This call needs the role `support` or a higher one.",
                Access::Approve => "This call needs the role `approver` or a higher one.",
                Access::TestClock | Access::Configure => "This call needs the role `admin`.",
                Access::Apps => "This call needs the root admin key, since it concerns all apps.",
                _ => "The role of this admin key does not allow this call.",
            },
        };
        Err(ServiceError::ForbiddenKey(what.to_owned()).into())
    }

    /// With a key that has `requireUserToken`, only the user whose token the call carries can be read.
    ///
    /// # Errors
    /// forbidden_key, invalid_request
    pub fn require_user_token(&self, request: &HttpRequest, user: &UserId) -> Result<(), ApiError> {
        match self.key.accepts_user_token(user, single(request, Header::UserToken)?) {
            true => Ok(()),
            false => {
                Err(ServiceError::ForbiddenKey("`X-User-Token` must be the HMAC-SHA256 of this user ID.".to_owned())
                    .into())
            }
        }
    }
}

impl FromRequest for Principal {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let gateway = request.app_data::<web::Data<Gateway>>().cloned();
            let gateway = gateway.ok_or_else(|| ServiceError::Internal("no gateway".to_owned()))?;
            let key = match presented_key(&request)? {
                Some(key) => gateway.authenticate(key).await?,
                None => session_cookie::of(&request, &gateway).await?.key,
            };
            let (app, mode) = (single(&request, Header::App)?, single(&request, Header::Mode)?);
            // These headers are validated on every call with a key, even where the call does not use them.
            for header in [Header::UserToken, Header::IdempotencyKey, Header::IfMatch] {
                single(&request, header)?;
            }
            check_origin(&request, &key)?;
            let app = gateway.app_of(&key, named_app(app)?.as_ref().map(AppId::as_str))?;
            let mode = mode_of(mode, &key)?;
            let placement = gateway.placement(&app).await?;
            gateway.check_mode(&app, &mode).await?;
            Ok(Self { key, tenant: Tenant { app, mode, placement }, gateway })
        })
    }
}

fn named_app(name: Option<&str>) -> Result<Option<AppId>, ApiError> {
    let named = name.map(AppId::parse).transpose();
    named.map_err(|error| Header::App.invalid(error.to_string()))
}

/// The mode of a call. A secret or publishable key has a fixed mode; an admin key names it in `X-Mode`.
fn mode_of(name: Option<&str>, key: &KeyRecord) -> Result<Mode, ApiError> {
    let named = name.map(Mode::parse).transpose();
    let named = named.map_err(|message| Header::Mode.invalid(message))?;
    match (key.fixed_mode(), named) {
        (Some(own), None) => Ok(own),
        (Some(own), Some(named)) if own == named => Ok(own),
        (Some(own), Some(_)) => Err(ServiceError::ForbiddenKey(format!("This key only works in mode {own}.")).into()),
        (None, named) => Ok(named.unwrap_or(Mode::Live)),
    }
}

/// Browsers send `Origin`. A publishable key works only from the origins it was created for.
fn check_origin(request: &HttpRequest, key: &KeyRecord) -> Result<(), ApiError> {
    if key.kind != KeyKind::Publishable {
        return Ok(());
    }
    let Some(origin) = single(request, Header::Origin)? else { return Ok(()) };
    if !key.origins.iter().any(|allowed| allowed == "*" || allowed == origin) {
        return Err(ServiceError::ForbiddenKey("This key cannot be used from this origin.".to_owned()).into());
    }
    request.extensions_mut().insert(AllowedOrigin(origin.to_owned()));
    Ok(())
}
