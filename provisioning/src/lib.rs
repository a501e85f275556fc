//! Pure planner: environment and organization files to CloudFormation templates and plans.
