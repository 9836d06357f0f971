// The API's own description.

import { call } from "./http";

export interface ApiSchema {
  $ref?: string;
  type?: string | string[];
  const?: string;
  enum?: (string | null)[];
  anyOf?: ApiSchema[];
  items?: ApiSchema;
  properties?: Record<string, ApiSchema>;
  required?: string[];
  description?: string;
  format?: string;
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
}

type ApiContent = Record<string, { schema?: ApiSchema; example?: unknown }>;

export interface ApiOperation {
  tags: string[];
  summary?: string;
  description?: string;
  parameters: { name: string; in: string; required: boolean; schema: ApiSchema }[];
  requestBody?: { content: ApiContent };
  responses: Record<string, { description?: string; content?: ApiContent; "x-codes"?: string[] }>;
  "x-roles"?: string[];
  "x-scopes"?: string[];
  "x-csrf"?: string;
  "x-person"?: boolean;
}

export interface ApiDescription {
  tags: { name: string; description: string }[];
  paths: Record<string, Record<string, ApiOperation>>;
  components: { schemas: Record<string, ApiSchema> };
}

export async function apiDescription(): Promise<ApiDescription> {
  return (await call("GET", "/openapi.json")).json();
}
