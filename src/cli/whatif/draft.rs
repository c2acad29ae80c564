//! Reads the draft, a plan or a whole configuration, from a file.

use std::path::Path;

use crate::cli::apply::lines;
use crate::cli::config_file::ConfigFile;
use crate::cli::direct::CommandError;
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
    Comparison(Box<Configuration>),
}

/// A parsed draft.
pub struct Draft {
    name: String,
    file: ConfigFile,
    body: Body,
}

/// A configuration with the draft applied.
pub struct Drafted {
    pub config: AppConfig,
    /// Users of the first plan get the second.
    pub instead: Option<(PlanId, PlanId)>,
    /// The drafted plan.
    pub plan: Option<PlanId>,
}

impl Draft {
    /// # Errors
    /// The file cannot be parsed, with the line of each fault.
    pub fn read(path: &Path, whole: bool) -> Result<Self, CommandError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| CommandError::Message(format!("{name}: {error}")))?;
        let file = ConfigFile::parse(&text)
            .map_err(|error| CommandError::Message(format!("{name}:{}: {}", error.line, error.message)))?;
        let json = file.document.to_string();
        let body = match whole {
            true => document::read_checked(json.as_bytes(), Configuration::faults)
                .map(|body| Body::Comparison(Box::new(body))),
            false => document::read(json.as_bytes()).map(|body| Body::Plan(Box::new(body))),
        };
        match body {
            Ok(body) => Ok(Self { name, file, body }),
            Err(faults) => Err(CommandError::Message(lines(&name, &file, faults).join("\n"))),
        }
    }

    /// Its name in reports.
    pub fn title(&self) -> String {
        match &self.body {
            Body::Plan(_) => format!("Plan {}", self.name),
            Body::Comparison(_) => format!("Configuration {}", self.name),
        }
    }

    /// The present configuration with the draft applied. `of`: the plan whose users get a new plan.
    ///
    /// # Errors
    /// Every fault of the draft; a new plan without users.
    pub fn within(
        &self,
        present: &AppConfig,
        placement: Placement,
        of: Option<&PlanId>,
    ) -> Result<Drafted, CommandError> {
        if let Some(of) = of.filter(|of| present.plan(of).is_none()) {
            return Err(CommandError::Message(format!("--for: plan {of} does not exist")));
        }
        match &self.body {
            Body::Comparison(document) => {
                let config = present.matching(placement, document).map_err(|error| self.refused(error))?;
                Ok(Drafted { config, instead: None, plan: of.cloned() })
            }
            Body::Plan(body) => {
                let named = self.plan_id(body)?;
                let known = named.as_ref().is_some_and(|id| present.plan(id).is_some());
                let Some(id) = named.clone().filter(|_| known || of.is_some()).or_else(|| of.cloned()) else {
                    let why = match named {
                        Some(id) => {
                            format!("plan {id} does not exist yet: name the plan whose users would get it with --for")
                        }
                        None => "the plan has no id: name the plan whose users would get it with --for".to_owned(),
                    };
                    return Err(CommandError::Message(format!("{}: {why}", self.name)));
                };
                let config = present.with_plan(placement, &id, body.as_ref().clone());
                let config = config.map_err(|error| self.refused(error))?;
                let instead = of.filter(|of| **of != id).map(|of| (of.clone(), id.clone()));
                Ok(Drafted { config, instead, plan: Some(id) })
            }
        }
    }

    /// The draft alone, for users who all have its plan. `of` names the plan in a whole configuration.
    ///
    /// # Errors
    /// Every fault of the draft; no plan for the users.
    pub fn alone(&self, of: Option<&PlanId>) -> Result<Drafted, CommandError> {
        let nothing = AppConfig::default();
        let placement = Placement::App;
        let (config, plan) = match &self.body {
            Body::Comparison(document) => {
                let config = nothing.matching(placement, document).map_err(|error| self.refused(error))?;
                let only = || config.plans.keys().next().filter(|_| config.plans.len() == 1);
                let plan = of.or(config.settings.default_plan_id.as_ref()).or_else(only).cloned();
                (config, plan)
            }
            Body::Plan(body) => {
                let id = match self.plan_id(body)? {
                    Some(id) => id,
                    None => PlanId::parse("draft").map_err(|error| CommandError::Message(error.to_string()))?,
                };
                let config = nothing.with_plan(placement, &id, body.as_ref().clone());
                (config.map_err(|error| self.refused(error))?, Some(id))
            }
        };
        let plan = plan.filter(|plan| config.plan(plan).is_some());
        let missing = || CommandError::Message(format!("{}: name the plan of the users with --for", self.name));
        Ok(Drafted { plan: Some(plan.ok_or_else(missing)?), config, instead: None })
    }

    fn plan_id(&self, body: &PlanBody) -> Result<Option<PlanId>, CommandError> {
        let parsed = body.id.as_deref().map(PlanId::parse).transpose();
        parsed.map_err(|error| self.faulty(vec![FieldError::new("id", error.to_string())]))
    }

    fn refused(&self, error: ServiceError) -> CommandError {
        match error {
            ServiceError::Invalid(faults) => self.faulty(faults),
            other => other.into(),
        }
    }

    fn faulty(&self, faults: Vec<FieldError>) -> CommandError {
        CommandError::Message(lines(&self.name, &self.file, faults).join("\n"))
    }
}
