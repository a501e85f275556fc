//! Everything that needs a real Temporal server, Samba or AWS endpoint, which the tests start and stop themselves, and what
//! is said of the workspace as a whole. One binary, since each links all there is. Run with `--test-threads 2`: most tests wait
//! most of the time, and more at once get in each other's way on two cores.

mod alarms;
mod aws_contract;
mod bad_input;
mod codec_server;
mod dev;
mod dicom;
mod dicom_peers;
mod doors;
mod drift;
mod edges;
mod ehr;
mod encodings;
mod fhir_examples;
mod gateway;
mod hl7_clients;
mod hl7_examples;
mod isolation;
mod kills;
mod large;
mod many_organizations;
mod notified;
mod offboarding;
mod onboard_steps;
mod onboarding_refused;
mod payload_keys;
mod place;
mod plans_held;
mod plans_listed;
mod privacy_and_cost;
mod processor;
mod promotion;
mod provisioning;
mod races;
mod received;
mod replay;
mod rotation;
mod set_records;
mod set_steps;
mod sets;
mod share_contract;
mod signals;
mod steps;
mod upload_page;
mod uploads;
