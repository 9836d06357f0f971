import { createHmac, timingSafeEqual } from 'crypto';
import type {
	IDataObject,
	IHookFunctions,
	INodeType,
	INodeTypeDescription,
	IWebhookFunctions,
	IWebhookResponseData,
} from 'n8n-workflow';
import { NodeConnectionTypes } from 'n8n-workflow';

import { carrelRequest } from '../Carrel/request';

const OLDEST_S = 300;

/** Standard Webhooks: "v1," and base64 of the HMAC-SHA-256 of "id.timestamp.body". */
function signed(secret: string, headers: IDataObject, body: Buffer): boolean {
	const name = String(headers['webhook-id'] ?? '');
	const at = String(headers['webhook-timestamp'] ?? '');
	if (!/^\d+$/.test(at) || Math.abs(Date.now() / 1000 - Number(at)) > OLDEST_S) {
		return false;
	}
	const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
	const mac = createHmac('sha256', key).update(`${name}.${at}.`).update(body).digest();
	return String(headers['webhook-signature'] ?? '')
		.split(' ')
		.filter((s) => s.startsWith('v1,'))
		.map((s) => Buffer.from(s.slice(3), 'base64'))
		.some((given) => given.length === mac.length && timingSafeEqual(given, mac));
}

export class CarrelTrigger implements INodeType {
	description: INodeTypeDescription = {
		displayName: 'Carrel Trigger',
		name: 'carrelTrigger',
		icon: { light: 'file:../../icons/carrel.svg', dark: 'file:../../icons/carrel.dark.svg' },
		group: ['trigger'],
		version: 1,
		subtitle: '={{$parameter["events"].join(", ")}}',
		description: 'Starts the workflow when a document was ingested or failed, or an answer was flagged',
		defaults: { name: 'Carrel Trigger' },
		inputs: [],
		outputs: [NodeConnectionTypes.Main],
		credentials: [{ name: 'carrelApi', required: true }],
		webhooks: [
			{
				name: 'default',
				httpMethod: 'POST',
				responseMode: 'onReceived',
				path: 'webhook',
			},
		],
		properties: [
			{
				displayName: 'Events',
				name: 'events',
				type: 'multiOptions',
				required: true,
				options: [
					{ name: 'Answer Flagged', value: 'answer.flagged' },
					{ name: 'Budget Used Up', value: 'budget.exceeded' },
					{ name: 'Budget Warning', value: 'budget.warning' },
					{ name: 'Document Failed', value: 'document.failed' },
					{ name: 'Document Ingested', value: 'document.ingested' },
					{ name: 'Job Done', value: 'job.done' },
				],
				default: ['document.ingested'],
			},
			{
				displayName:
					"n8n's address must be one of webhooks.allow (or allow_private) in Carrel's settings",
				name: 'notice',
				type: 'notice',
				default: '',
			},
		],
	};

	webhookMethods = {
		default: {
			async checkExists(this: IHookFunctions): Promise<boolean> {
				const data = this.getWorkflowStaticData('node');
				if (data.webhookId === undefined) {
					return false;
				}
				const reply = await carrelRequest<{ webhooks: IDataObject[] }>(this, 'GET', '/api/webhooks');
				const events = [...(this.getNodeParameter('events') as string[])].sort().join();
				const one = reply.webhooks.find((w) => w.id === data.webhookId);
				return (
					one !== undefined &&
					one.enabled === true &&
					one.url === this.getNodeWebhookUrl('default') &&
					[...(one.events as string[])].sort().join() === events
				);
			},
			async create(this: IHookFunctions): Promise<boolean> {
				const data = this.getWorkflowStaticData('node');
				const reply = await carrelRequest(this, 'POST', '/api/webhooks', {
					url: this.getNodeWebhookUrl('default') as string,
					events: this.getNodeParameter('events') as string[],
					name: `n8n: ${this.getWorkflow().name ?? this.getWorkflow().id ?? ''}`.slice(0, 60),
				});
				data.webhookId = reply.id as string;
				data.secret = reply.secret as string;
				return true;
			},
			async delete(this: IHookFunctions): Promise<boolean> {
				const data = this.getWorkflowStaticData('node');
				if (data.webhookId !== undefined) {
					try {
						await carrelRequest(this, 'DELETE', `/api/webhooks/${String(data.webhookId)}`);
					} catch (error) {
						if (String((error as { httpCode?: string }).httpCode) !== '404') {
							return false;
						}
					}
				}
				delete data.webhookId;
				delete data.secret;
				return true;
			},
		},
	};

	async webhook(this: IWebhookFunctions): Promise<IWebhookResponseData> {
		const data = this.getWorkflowStaticData('node');
		const request = this.getRequestObject();
		const secret = data.secret as string | undefined;
		if (secret === undefined || !signed(secret, this.getHeaderData() as IDataObject, request.rawBody)) {
			const response = this.getResponseObject();
			response.status(401).json({ error: 'the signature is wrong or too old' });
			return { noWebhookResponse: true };
		}
		const body = this.getBodyData();
		if (body.type === 'ping') {
			return { webhookResponse: { ok: true } };
		}
		return { workflowData: [this.helpers.returnJsonArray([body])] };
	}
}
