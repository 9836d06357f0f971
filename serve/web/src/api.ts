// The appliance's HTTP API as this page uses it (docs/api.md), a file a topic.

export * from "./api/audit";
export * from "./api/chat";
export * from "./api/conversations";
export * from "./api/documents";
export { ApiError } from "./api/http";
export * from "./api/people";
export * from "./api/quality";
export * from "./api/reference";
export * from "./api/search";
export * from "./api/session";
export * from "./api/usage";
export * from "./api/webhooks";
