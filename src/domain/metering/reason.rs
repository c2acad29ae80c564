//! Why a call is denied, in the order of precedence.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    UserBlocked,
    NoSubscription,
    UnmatchedEvent,
    UncoveredEvent,
    MissingScope,
    CallTooLarge,
    LimitReached,
    ApprovalRequired,
}

impl Reason {
    pub const ALL: [Self; 8] = [
        Self::UserBlocked,
        Self::NoSubscription,
        Self::UnmatchedEvent,
        Self::UncoveredEvent,
        Self::MissingScope,
        Self::CallTooLarge,
        Self::LimitReached,
        Self::ApprovalRequired,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UserBlocked => "user_blocked",
            Self::NoSubscription => "no_subscription",
            Self::UnmatchedEvent => "unmatched_event",
            Self::UncoveredEvent => "uncovered_event",
            Self::MissingScope => "missing_scope",
            Self::CallTooLarge => "call_too_large",
            Self::LimitReached => "limit_reached",
            Self::ApprovalRequired => "approval_required",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }
}
