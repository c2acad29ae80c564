//! `GET nodes`.

use actix_web::HttpResponse;

use super::auth::{Access, Principal};
use super::problem::{ApiError, Problem};
use super::views::ListView;
use crate::service::nodes::NodeView;

/// List the nodes that use this Redis, with the time of their last heartbeat
///
/// Each node writes a heartbeat every five seconds. A node that ended or cannot reach Redis is `silent` for an hour
/// and then removed from the list.
#[utoipa::path(get, path = "/api/v1/nodes", tag = "Nodes",
    responses((status = 200, body = ListView<NodeView>), (status = 401, body = Problem), (status = 403, body = Problem), (status = 503, body = Problem)))]
pub async fn list(principal: Principal) -> Result<HttpResponse, ApiError> {
    principal.require(Access::ReadConfiguration)?;
    Ok(HttpResponse::Ok().json(ListView::whole(principal.gateway.nodes().await?)))
}
