//! Turns the events that scripts emit into webhook messages and into the history of alerts.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::domain::configuration::policy::Policy;
use crate::domain::metering::reservation::{OperationName, ReservationId};
use crate::domain::reporting::entry_id::EntryId;
use crate::domain::time::window::{TimeMs, Window, rfc3339};
use crate::domain::values::amount::{Amount, Unit};
use crate::domain::values::ids::{AppId, GroupId, Mode, WebhookId};
use crate::domain::values::number::Number;
use crate::domain::webhooks::webhook::{Filtered, WebhookEvent, fill};
use crate::service::configuration::app_config::{AppConfig, StoredWebhook};
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::service::metering::admit::RequestedApproval;
use crate::service::nodes::leases::Leases;
use crate::service::tenant::Tenant;
use crate::store::keys::{Bucket, decode};
use crate::store::webhooks::deliveries::NewDelivery;
use crate::store::webhooks::outbox::OutboxEntry;

/// Entries read at a time.
const BATCH: usize = 100;

/// An event as webhooks and the history contain it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Happening {
    /// `threshold.reached`, `limit.reached` …
    #[serde(rename = "type")]
    pub kind: WebhookEvent,
    /// RFC 3339, UTC.
    pub timestamp: String,
    #[schema(value_type = Object)]
    pub data: Map<String, Value>,
    /// A text for chats.
    pub text: String,
}

/// An entry of the history.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AlertView {
    pub id: String,
    #[serde(flatten)]
    pub happening: Happening,
}

/// An event with the values for filters and templates.
struct EventContext {
    kind: WebhookEvent,
    at_ms: TimeMs,
    data: Map<String, Value>,
    scope: BTreeMap<String, String>,
}

impl Gateway {
    /// Every app and mode with webhooks, and the webhooks' IDs, as far as this node does the work for any of it.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn listening(&self, leases: &Leases) -> Result<Vec<(Tenant, Vec<WebhookId>)>, ServiceError> {
        let mut listening = Vec::new();
        for app in self.known_apps().await?.iter() {
            leases.beat().await;
            let id = AppId::parse(&app.id).map_err(|error| ServiceError::Internal(error.to_string()))?;
            let live = Tenant { app: id, mode: Mode::Live, placement: app.placement };
            if leases.buckets(&live).is_empty() {
                continue;
            }
            let config = self.config(&live.app).await?;
            if config.webhooks.is_empty() {
                continue;
            }
            let sandboxes = config.sandboxes.iter().cloned().map(Mode::Test);
            let sandboxes = sandboxes.map(|mode| Tenant { mode, ..live.clone() });
            let tenants = std::iter::once(live.clone()).chain(sandboxes);
            listening.extend(tenants.map(|tenant| (tenant, config.webhooks.keys().cloned().collect())));
        }
        Ok(listening)
    }

    /// Creates messages from entries that no node has taken yet; with `over`, from entries that another node took and
    /// did not finish.
    ///
    /// # Errors
    /// [`ServiceError`]; unfinished entries are taken over later.
    pub async fn fan_out(&self, tenant: &Tenant, bucket: &Bucket, over: bool) -> Result<(), ServiceError> {
        let entries = match over {
            true => self.store.take_over(bucket, &self.node, BATCH).await?,
            false => self.store.take_new(bucket, &self.node, BATCH).await?,
        };
        if entries.is_empty() {
            return Ok(());
        }
        // A webhook must receive events that happen after it was created, and the cached configuration may be older.
        let config = self.load_config(&tenant.app).await?;
        for entry in entries {
            self.fan_out_entry(tenant, bucket, &config, &entry).await?;
            self.store.acknowledge(bucket, entry.id).await?;
        }
        Ok(())
    }

    async fn fan_out_entry(
        &self,
        tenant: &Tenant,
        bucket: &Bucket,
        config: &AppConfig,
        entry: &OutboxEntry,
    ) -> Result<(), ServiceError> {
        let Some(context) = self.read_event(tenant, bucket, config, entry).await? else {
            tracing::warn!(app = %tenant.app, mode = %tenant.mode, "an outbox entry cannot be read");
            return Ok(());
        };
        // One entry has the same message ID in all attempts, on all nodes.
        let message = format!("msg_{:02x}{:x}-{:x}", bucket.number(), entry.id.time_ms, entry.id.number);
        for (id, webhook) in &config.webhooks {
            let since = crate::domain::time::window::parse_rfc3339(&webhook.created_at).unwrap_or(0);
            let recorded_at = TimeMs::try_from(entry.id.time_ms).unwrap_or(TimeMs::MAX);
            if recorded_at < since || !webhook.body.takes(&tenant.mode) || !wants(config, webhook, &context) {
                continue;
            }
            let happening = context.payload(config, webhook.body.template.as_deref());
            let body = crate::service::error::json(&happening)?;
            let new = NewDelivery { message: &message, event: context.kind.as_str(), body: &body };
            self.make_out(tenant, id, new).await?;
        }
        Ok(())
    }

    /// The history of events, newest first. Returns a page and the cursor of the next one.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn alerts(
        &self,
        tenant: &Tenant,
        before: Option<EntryId>,
        count: usize,
    ) -> Result<(Vec<AlertView>, Option<EntryId>), ServiceError> {
        let config = self.load_config(&tenant.app).await?;
        let mut found: Vec<(EntryId, AlertView)> = Vec::new();
        for bucket in tenant.buckets() {
            for entry in self.store.recorded_before(&bucket, before, count + 1).await? {
                if let Some(context) = self.read_event(tenant, &bucket, &config, &entry).await? {
                    let id = format!("{}-{}", entry.id.time_ms, entry.id.number);
                    found.push((entry.id, AlertView { id, happening: context.payload(&config, None) }));
                }
            }
        }
        found.sort_by_key(|(id, _)| std::cmp::Reverse(*id));
        let more = found.len() > count;
        found.truncate(count);
        let next = found.last().filter(|_| more).map(|(id, _)| *id);
        Ok((found.into_iter().map(|(_, view)| view).collect(), next))
    }

    /// None for an entry that this version does not understand.
    async fn read_event(
        &self,
        tenant: &Tenant,
        bucket: &Bucket,
        config: &AppConfig,
        entry: &OutboxEntry,
    ) -> Result<Option<EventContext>, ServiceError> {
        let Some(kind) = entry.field("type").and_then(WebhookEvent::parse) else { return Ok(None) };
        let at_ms = entry.field("at").and_then(|at| at.parse().ok()).unwrap_or(0);
        let mut context = EventContext { kind, at_ms, data: Map::new(), scope: BTreeMap::new() };
        context.put("appId", json!(tenant.app.as_str()));
        context.put("mode", json!(tenant.mode.to_string()));
        let known = match kind {
            WebhookEvent::SubscriptionChanged => context.read_subscription(entry),
            WebhookEvent::ReservationExpired => {
                let name = entry.field("reservation").and_then(OperationName::parse);
                let created = entry.field("created").and_then(|created| created.parse().ok());
                let id = name.zip(created).map(|(name, created_at_ms)| {
                    ReservationId { name, created_at_ms, bucket: bucket.number() }.to_string()
                });
                context.put("reservationId", json!(id));
                context.read_expiry(config, entry)
            }
            WebhookEvent::ThresholdReached
            | WebhookEvent::LimitReached
            | WebhookEvent::CreditsLow
            | WebhookEvent::ApprovalRequested
            | WebhookEvent::ApprovalDecided => context.read_group(bucket, config, entry),
        };
        Ok(known.map(|()| context))
    }
}

fn wants(config: &AppConfig, webhook: &StoredWebhook, context: &EventContext) -> bool {
    let text = |name: &str| context.data.get(name).and_then(Value::as_str);
    let policy = context.policy(config);
    let filtered = Filtered {
        group_id: text("groupId"),
        policy_id: text("policyId"),
        owner: policy.and_then(|policy| policy.body.owner.as_deref()),
        environment: policy.and_then(|policy| policy.body.environment.as_deref()),
        scope: Some(&context.scope),
    };
    webhook.body.events.contains(&context.kind) && webhook.body.filter.lets_through(&filtered)
}

/// An amount as scripts write it.
fn parse_steps(steps: &str) -> Option<Amount> {
    Amount::from_steps(steps.parse().ok()?).ok()
}

/// A number in its unit, as JSON.
fn in_unit(unit: Unit, amount: Amount) -> Option<Value> {
    serde_json::to_value(Number(amount.to_decimal(unit))).ok()
}

impl EventContext {
    fn put(&mut self, name: &str, value: Value) {
        self.data.insert(name.to_owned(), value);
    }

    fn policy<'a>(&self, config: &'a AppConfig) -> Option<&'a Policy> {
        let group = GroupId::parse(self.data.get("groupId")?.as_str()?).ok()?;
        config.policy_of(&group).map(std::convert::AsRef::as_ref)
    }

    fn read_subscription(&mut self, entry: &OutboxEntry) -> Option<()> {
        let subscription: Value = serde_json::from_str(entry.field("json")?).ok()?;
        let user = subscription.get("userId")?.as_str()?.to_owned();
        self.put("userId", json!(user));
        self.put("subscription", subscription);
        self.scope.insert("user".to_owned(), user);
        Some(())
    }

    fn read_expiry(&mut self, config: &AppConfig, entry: &OutboxEntry) -> Option<()> {
        let user = decode(entry.field("user")?)?;
        self.put("event", json!(decode(entry.field("event")?)?));
        self.put("keyId", json!(decode(entry.field("key")?)?));
        self.put("userId", json!(user));
        let held = entry.field("entries")?.split(',').filter_map(|held| {
            let mut parts = held.split(':');
            // What did not fit into a limit group is held in a balance.
            let id = parts.next()?;
            let id = id.split_once('>').map_or(id, |(_, balance)| balance);
            let (group, _, steps) = (GroupId::parse(id).ok()?, parts.next()?, parts.next()?);
            let unit = config.groups.get(&group).map_or(Unit::Count, |kind| kind.unit);
            Some(json!({"groupId": group.as_str(), "unit": unit, "amount": in_unit(unit, parse_steps(steps)?)?}))
        });
        self.put("held", held.collect());
        self.scope.insert("user".to_owned(), user);
        Some(())
    }

    fn read_group(&mut self, bucket: &Bucket, config: &AppConfig, entry: &OutboxEntry) -> Option<()> {
        let group = GroupId::parse(entry.field("group")?).ok()?;
        let owner = bucket.owner_of(entry.field("owner")?)?;
        let unit = config.groups.get(&group).map_or(Unit::Count, |kind| kind.unit);
        self.scope = owner.to_map();
        self.put("scope", json!(self.scope));
        self.put("groupId", json!(group.as_str()));
        self.put("label", json!(config.group(&group).map_or(group.as_str(), |group| &group.label)));
        self.put("unit", json!(unit));
        if let Some(policy) = config.policy_of(&group) {
            self.put("policyId", json!(policy.id.as_str()));
            let body = &policy.body;
            for (name, value) in [("owner", &body.owner), ("environment", &body.environment), ("route", &body.route)] {
                if let Some(value) = value {
                    self.put(name, json!(value));
                }
            }
        }
        if let Some(window) = entry.field("window").and_then(Window::parse) {
            let end = window.end_ms.map(rfc3339);
            self.put("period", json!({"start": rfc3339(window.start_ms), "end": end}));
            self.put("resetsAt", json!(end));
        }
        self.put_amounts(unit, entry);
        if let Some(percent) = entry.field("percent").and_then(|percent| percent.parse::<u64>().ok()) {
            self.put("percent", json!(percent));
        }
        if let Some(id) = entry.field("approval") {
            self.put("approvalId", json!(id));
        }
        if let Some(status) = entry.field("status") {
            self.put("status", json!(status));
        }
        if let Some(how) = entry.field("how").and_then(|how| serde_json::from_str(how).ok()) {
            self.put("decided", how);
        }
        if let Some(asking) =
            entry.field("about").and_then(|about| serde_json::from_str::<RequestedApproval>(about).ok())
        {
            self.put("userId", json!(asking.user_id));
            self.put("event", json!(asking.event));
            self.put("metadata", json!(asking.metadata));
        }
        Some(())
    }

    /// The counter's amounts, and the limit with which `used` is compared.
    fn put_amounts(&mut self, unit: Unit, entry: &OutboxEntry) {
        let amount = |name: &str| entry.field(name).and_then(parse_steps);
        let extra = ["granted", "rolled"].into_iter().filter_map(amount);
        let limit = amount("quota").map(|quota| extra.fold(quota, Amount::saturating_add));
        let names = ["used", "held", "blocked", "quota", "granted", "rolled", "requested", "remaining", "threshold"];
        let amounts = names.map(|name| (name, amount(name)));
        for (name, amount) in amounts.into_iter().chain([("limit", limit)]) {
            if let Some(value) = amount.and_then(|amount| in_unit(unit, amount)) {
                self.put(name, value);
            }
        }
    }

    fn payload(&self, config: &AppConfig, template: Option<&str>) -> Happening {
        let timestamp = rfc3339(self.at_ms);
        Happening { kind: self.kind, timestamp, data: self.data.clone(), text: self.text(config, template) }
    }

    /// The text for a chat.
    fn text(&self, config: &AppConfig, template: Option<&str>) -> String {
        let plain = |name: &str| match self.data.get(name) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Null) | None => String::new(),
            Some(other) => other.to_string(),
        };
        let scope = self
            .scope
            .iter()
            .map(|(name, value)| format!("{} {value}", name.strip_prefix("metadata.").unwrap_or(name)));
        let scope = scope.collect::<Vec<_>>().join(", ");
        let owner = self.policy(config).and_then(|policy| policy.body.owner.clone()).unwrap_or_default();
        let values = [
            ("event", self.kind.as_str().to_owned()),
            ("group", plain("label")),
            ("percent", plain("percent")),
            ("used", plain("used")),
            ("held", plain("held")),
            ("blocked", plain("blocked")),
            ("quota", plain("quota")),
            ("limit", plain("limit")),
            ("unit", plain("unit")),
            ("scope", scope),
            ("owner", owner),
            ("policy", plain("policyId")),
            ("resetsAt", plain("resetsAt")),
            ("user", plain("userId")),
            ("requested", plain("requested")),
            ("status", plain("status")),
            ("remaining", plain("remaining")),
        ];
        let values: Vec<(&str, &str)> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let [held, blocked] = ["held", "blocked"].map(|name| !matches!(plain(name).as_str(), "" | "0"));
        let template = match template {
            Some(template) => template.to_owned(),
            // The unit `count` is omitted.
            None if plain("unit") == "count" => default_template(self.kind, held, blocked).replace(" {unit}", ""),
            None => default_template(self.kind, held, blocked).to_owned(),
        };
        fill(&template, &values)
    }
}

/// `held`, `blocked`: open reservations hold, or a plan change blocks, a part of the limit.
fn default_template(kind: WebhookEvent, held: bool, blocked: bool) -> &'static str {
    match kind {
        WebhookEvent::LimitReached if held && blocked => {
            "{group}: {scope} has reached the limit ({used} used + {held} held + {blocked} blocked of {limit} {unit})"
        }
        WebhookEvent::LimitReached if held => {
            "{group}: {scope} has reached the limit ({used} used + {held} held of {limit} {unit})"
        }
        WebhookEvent::LimitReached if blocked => {
            "{group}: {scope} has reached the limit ({used} used + {blocked} blocked of {limit} {unit})"
        }
        WebhookEvent::ThresholdReached => "{group}: {percent} % used by {scope} ({used} of {limit} {unit})",
        WebhookEvent::LimitReached => "{group}: {scope} has reached the limit ({used} of {limit} {unit} used)",
        WebhookEvent::CreditsLow => "{group}: {scope} has {remaining} {unit} left",
        WebhookEvent::ApprovalRequested => "{group}: {scope} requests {requested} {unit} ({used} of {limit} used)",
        WebhookEvent::ApprovalDecided => "{group}: the request of {scope} is {status}",
        WebhookEvent::SubscriptionChanged => "The subscription of {scope} has changed",
        WebhookEvent::ReservationExpired => "A reservation of {scope} expired without commit or release",
    }
}
