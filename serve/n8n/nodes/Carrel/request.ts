import type {
	IDataObject,
	IExecuteFunctions,
	IHookFunctions,
	IHttpRequestMethods,
	IHttpRequestOptions,
	ILoadOptionsFunctions,
	JsonObject,
} from 'n8n-workflow';
import { NodeApiError } from 'n8n-workflow';

type Context = IExecuteFunctions | IHookFunctions | ILoadOptionsFunctions;

interface Reply {
	statusCode: number;
	headers: IDataObject;
	body: unknown;
}

/** What to do about it, where Carrel's own words do not say. */
const HINTS: Record<number, string> = {
	401: 'Check the key in the credential: it may be mistyped, expired or revoked (carrel key list shows it).',
	403: 'The key may not do this. Scopes and groups are given when a key is made: carrel key create --role service --scopes ask,search,read,ingest,manage',
	404: 'It is not there, or the key may not see it.',
	413: 'It is larger than Carrel takes: see http.max_upload_bytes in its settings.',
	429: 'Carrel has too much to do, or a limit of this key is reached. Switch on "Retry On Fail" in the node\'s settings.',
	503: 'A part of Carrel is starting or down: carrel status tells. Switch on "Retry On Fail" in the node\'s settings.',
};

const REASONS: Record<string, string> = {
	ECONNREFUSED: 'nothing listens there',
	ECONNRESET: 'the connection was broken off',
	ECONNABORTED: 'no answer came in time',
	ETIMEDOUT: 'no answer came in time',
	EHOSTUNREACH: 'there is no way to that address',
	ENOTFOUND: 'nobody has that name',
	EAI_AGAIN: 'the name cannot be looked up now',
	EPROTO: 'it does not speak TLS; try http://',
};

function words(body: unknown): string {
	const error = (body as { error?: unknown } | undefined)?.error;
	const message = typeof error === 'string' ? error : (error as IDataObject | undefined)?.message;
	return typeof message === 'string' ? message : '';
}

function parsed(body: unknown): unknown {
	if (typeof body !== 'string') {
		return body;
	}
	try {
		return JSON.parse(body) as unknown;
	} catch {
		return undefined;
	}
}

function refusal(context: Context, reply: Reply): NodeApiError {
	const status = reply.statusCode;
	const wait = reply.headers?.['retry-after'];
	let message = words(reply.body) || `Carrel answered with HTTP ${status}`;
	let description = HINTS[status] ?? '';
	if (status >= 300 && status < 400) {
		message = `Carrel's address leads on to ${String(reply.headers?.location ?? 'another one')}`;
		description = 'Put the address where Carrel itself answers into the credential.';
	}
	if (wait !== undefined) {
		description = `Again after ${String(wait)} s. ${description}`;
	}
	return new NodeApiError(context.getNode(), { message } as JsonObject, {
		message,
		description,
		httpCode: String(status),
	});
}

function unreachable(context: Context, url: string, error: Error): NodeApiError {
	const said = (error as { messages?: string[] }).messages?.[0] ?? error.message;
	// the codes themselves stay out: n8n puts words of its own in the place of a text that has one
	const code = Object.keys(REASONS).find((name) => said.includes(name));
	const message = `Carrel cannot be reached at ${url}: ${code === undefined ? said : REASONS[code]}`;
	return new NodeApiError(context.getNode(), { message } as JsonObject, {
		message,
		description: 'Check the address in the credential, without /v1, and whether carrel status says that it runs.',
	});
}

/**
 * A call of Carrel's API with the node's credential. What Carrel refuses is thrown in its own words. A stream is sent as
 * it comes: redirects are not followed, since to repeat a body it would have to be kept.
 */
export async function carrelRequest<T = IDataObject>(
	context: Context,
	method: IHttpRequestMethods,
	path: string,
	body?: IHttpRequestOptions['body'],
	more: Partial<IHttpRequestOptions> = {},
): Promise<T> {
	const credentials = await context.getCredentials('carrelApi');
	const base = String(credentials.url).trim().replace(/\/+$/, '').replace(/\/v1$/, '');
	const options: IHttpRequestOptions = {
		method,
		url: `${base}${path}`,
		json: more.headers?.['Content-Type'] === undefined,
		returnFullResponse: true,
		ignoreHttpStatusErrors: true,
		disableFollowRedirect: true,
		...more,
	};
	if (body !== undefined) {
		options.body = body;
	}
	let reply: Reply;
	try {
		reply = (await context.helpers.httpRequestWithAuthentication.call(
			context,
			'carrelApi',
			options,
		)) as Reply;
	} catch (error) {
		throw unreachable(context, base, error as Error);
	}
	reply.body = parsed(reply.body);
	if (reply.statusCode < 200 || reply.statusCode >= 300) {
		throw refusal(context, reply);
	}
	if (reply.body === undefined || reply.body === null || typeof reply.body !== 'object') {
		const message = `What answers at ${base} is not Carrel`;
		throw new NodeApiError(context.getNode(), { message } as JsonObject, {
			message,
			description: 'Check the address in the credential.',
		});
	}
	return reply.body as T;
}
