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

/** A call of Carrel's API with the node's credential; errors carry what Carrel says in words. */
export async function carrelRequest<T = IDataObject>(
	context: Context,
	method: IHttpRequestMethods,
	path: string,
	body?: IDataObject | Buffer,
	more: Partial<IHttpRequestOptions> = {},
): Promise<T> {
	const credentials = await context.getCredentials('carrelApi');
	const options: IHttpRequestOptions = {
		method,
		url: `${String(credentials.url).replace(/\/+$/, '')}${path}`,
		json: !Buffer.isBuffer(body),
		...more,
	};
	if (body !== undefined) {
		options.body = body;
	}
	try {
		return (await context.helpers.httpRequestWithAuthentication.call(
			context,
			'carrelApi',
			options,
		)) as T;
	} catch (error) {
		throw new NodeApiError(context.getNode(), error as JsonObject);
	}
}
