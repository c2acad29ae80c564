//! Requests and answers: headers, bodies, cursors, errors, bounds.

mod all_faults;
mod answer_headers;
mod bad_input;
mod cursors;
mod errors;
mod examples;
mod header_values;
mod headers;
mod large_answers;
mod openapi;
mod random_bodies;
mod read_limits;
mod slow_clients;
