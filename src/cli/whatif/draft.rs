//! The draft: a plan or a whole configuration, from a file.

use std::path::Path;

use super::WhatifError;
use crate::cli::apply::lines;
use crate::cli::config_file::ConfigFile;
use crate::domain::configuration::plan_body::PlanBody;
use crate::domain::values::document;
use crate::domain::values::field_error::FieldError;
use crate::domain::values::ids::PlanId;
use crate::service::configuration::app_config::AppConfig;
use crate::service::configuration::apply::Configuration;
use crate::service::error::ServiceError;
use crate::service::tenant::Placement;

enum Body {
    Plan(Box<PlanBody>),
    Whole(Box<Configuration>),
}

/// A draft that was read.
pub struct Draft {
    name: String,
    file: ConfigFile,
    body: Body,
}

/// A configuration with the draft in it.
pub struct Drafted {
    pub config: AppConfig,
    /// Users of the first plan get the second.
    pub instead: Option<(PlanId, PlanId)>,
    /// The plan that was drafted.
    pub plan: Option<PlanId>,
}

impl Draft {
    /// # Errors
    /// What cannot be read, with the line of each fault.
    pub fn read(path: &Path, whole: bool) -> Result<Self, WhatifError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| WhatifError::Input(format!("{name}: {error}")))?;
        let file = ConfigFile::parse(&text)
            .map_err(|error| WhatifError::Input(format!("{name}:{}: {}", error.line, error.message)))?;
        let json = file.document.to_string();
        let body = match whole {
            true => document::read(json.as_bytes()).map(|body| Body::Whole(Box::new(body))),
            false => document::read(json.as_bytes()).map(|body| Body::Plan(Box::new(body))),
        };
        match body {
            Ok(body) => Ok(Self { name, file, body }),
            Err(faults) => Err(WhatifError::Faults(lines(&name, &file, faults))),
        }
    }

    /// What it is, for a report.
    pub fn title(&self) -> String {
        match &self.body {
            Body::Plan(_) => format!("Plan {}", self.name),
            Body::Whole(_) => format!("Configuration {}", self.name),
        }
    }

    /// The present configuration with the draft in it. `of`: whose users get a plan that is new.
    ///
    /// # Errors
    /// Every fault of the draft; a new plan without users.
    pub fn within(
        &self,
        present: &AppConfig,
        placement: Placement,
        of: Option<&PlanId>,
    ) -> Result<Drafted, WhatifError> {
        if let Some(of) = of.filter(|of| present.plan(of).is_none()) {
            return Err(WhatifError::Input(format!("--for {of}: there is no such plan")));
        }
        match &self.body {
            Body::Whole(document) => {
                let config = present.matching(placement, document).map_err(|error| self.refused(error))?;
                Ok(Drafted { config, instead: None, plan: of.cloned() })
            }
            Body::Plan(body) => {
                let named = self.plan_id(body)?;
                let known = named.as_ref().is_some_and(|id| present.plan(id).is_some());
                let Some(id) = named.clone().filter(|_| known || of.is_some()).or_else(|| of.cloned()) else {
                    let why = match named {
                        Some(id) => format!("there is no plan {id}: say with --for whose users would get it"),
                        None => "the plan has no id: say with --for whose users would get it".to_owned(),
                    };
                    return Err(WhatifError::Input(format!("{}: {why}", self.name)));
                };
                let config = present.with_plan(placement, &id, body.as_ref().clone());
                let config = config.map_err(|error| self.refused(error))?;
                let instead = of.filter(|of| **of != id).map(|of| (of.clone(), id.clone()));
                Ok(Drafted { config, instead, plan: Some(id) })
            }
        }
    }

    /// The draft alone, for users who are all on it. `of` names the plan of a whole configuration.
    ///
    /// # Errors
    /// Every fault of the draft; no plan for the users.
    pub fn alone(&self, of: Option<&PlanId>) -> Result<Drafted, WhatifError> {
        let nothing = AppConfig::default();
        let placement = Placement::App;
        let (config, plan) = match &self.body {
            Body::Whole(document) => {
                let config = nothing.matching(placement, document).map_err(|error| self.refused(error))?;
                let only = || config.plans.keys().next().filter(|_| config.plans.len() == 1);
                let plan = of.or(config.settings.default_plan_id.as_ref()).or_else(only).cloned();
                (config, plan)
            }
            Body::Plan(body) => {
                let id = match self.plan_id(body)? {
                    Some(id) => id,
                    None => PlanId::parse("draft").map_err(|error| WhatifError::Input(error.to_string()))?,
                };
                let config = nothing.with_plan(placement, &id, body.as_ref().clone());
                (config.map_err(|error| self.refused(error))?, Some(id))
            }
        };
        let plan = plan.filter(|plan| config.plan(plan).is_some());
        let missing = || WhatifError::Input(format!("{}: say with --for which plan the users are on", self.name));
        Ok(Drafted { plan: Some(plan.ok_or_else(missing)?), config, instead: None })
    }

    fn plan_id(&self, body: &PlanBody) -> Result<Option<PlanId>, WhatifError> {
        let parsed = body.id.as_deref().map(PlanId::parse).transpose();
        parsed.map_err(|error| self.told(vec![FieldError::new("id", error.to_string())]))
    }

    fn refused(&self, error: ServiceError) -> WhatifError {
        match error {
            ServiceError::Invalid(faults) => self.told(faults),
            other => other.into(),
        }
    }

    fn told(&self, faults: Vec<FieldError>) -> WhatifError {
        WhatifError::Faults(lines(&self.name, &self.file, faults))
    }
}
