//! `GET nodes`.

use actix_web::HttpResponse;

use crate::http::wire::auth::{Access, Principal};
use crate::http::wire::problem::{ApiError, Problem};
use crate::http::wire::views::ListView;
use crate::service::nodes::registry::NodeView;

/// List the nodes that use this Redis, with the time of their last heartbeat
///
/// Each node writes a heartbeat every five seconds. A node that shuts down leaves the list. A node that died or cannot
/// reach Redis is `silent` for an hour and then removed from the list.
#[utoipa::path(get, path = "/api/v1/nodes", tag = "Nodes",
    responses((status = 200, body = ListView<NodeView>), (status = 401, body = Problem), (status = 403, body = Problem), (status = 503, body = Problem)))]
pub async fn list(principal: Principal) -> Result<HttpResponse, ApiError> {
    principal.require(Access::ReadConfiguration)?;
    Ok(HttpResponse::Ok().json(ListView::whole(principal.gateway.nodes().await?)))
}
