import type { IDataObject, IExecuteFunctions, JsonObject } from 'n8n-workflow';
import { NodeApiError, NodeOperationError, sleep } from 'n8n-workflow';

import { carrelRequest } from './request';

const POLL_MS = 1000;
const PAGE = 500;

type Operation = (context: IExecuteFunctions, i: number) => Promise<IDataObject | IDataObject[]>;

interface Choice {
	message: { content: string };
}
interface Completion extends IDataObject {
	id: string;
	model: string;
	choices: IDataObject[];
}

const text = (context: IExecuteFunctions, name: string, i: number) =>
	context.getNodeParameter(name, i, '') as string;

function required(context: IExecuteFunctions, name: string, what: string, i: number): string {
	const value = text(context, name, i).trim();
	if (value === '') {
		throw new NodeOperationError(context.getNode(), `${what} is empty`, {
			itemIndex: i,
			description: `Fill in the field, or check what the expression in it gives for item ${i}.`,
		});
	}
	return value;
}

/** An id becomes part of a path: it must be one. */
function id(context: IExecuteFunctions, name: string, i: number): string {
	const value = text(context, name, i).trim();
	if (!/^[A-Za-z0-9_-]{1,100}$/.test(value)) {
		throw new NodeOperationError(context.getNode(), `"${value}" is not an ID`, {
			itemIndex: i,
			description: 'It is the field "id" of what Ingest, Get Many or As a Job gave, not a path or a name.',
		});
	}
	return value;
}

async function ask(context: IExecuteFunctions, i: number): Promise<IDataObject> {
	const options = context.getNodeParameter('options', i, {}) as IDataObject;
	const messages: IDataObject[] = [];
	if (options.instructions) {
		messages.push({ role: 'system', content: options.instructions });
	}
	messages.push({ role: 'user', content: required(context, 'question', 'The question', i) });
	const chat: IDataObject = {
		model: options.collection ? `carrel:${String(options.collection)}` : 'carrel',
		messages,
	};
	if (context.getNodeParameter('asJob', i, false)) {
		const body: IDataObject = { chat };
		if (options.callbackUrl) {
			body.callback_url = options.callbackUrl;
		}
		return await carrelRequest(context, 'POST', '/api/jobs', body);
	}
	const reply = await carrelRequest<Completion>(context, 'POST', '/v1/chat/completions', chat);
	const { id: name, model, choices, ...rest } = reply;
	return {
		answer: (choices[0] as unknown as Choice).message.content,
		id: name.replace(/^chatcmpl-/, ''),
		model,
		...rest,
	};
}

async function search(context: IExecuteFunctions, i: number): Promise<IDataObject[]> {
	const options = context.getNodeParameter('options', i, {}) as IDataObject;
	const body: IDataObject = {
		query: required(context, 'query', 'The query', i),
		top_k: context.getNodeParameter('limit', i, 50) as number,
	};
	if (options.collection) {
		body.collections = [String(options.collection)];
	}
	const reply = await carrelRequest<{ passages: IDataObject[] }>(
		context,
		'POST',
		'/api/search',
		body,
	);
	return reply.passages;
}

interface Job extends IDataObject {
	id: string;
	status: string;
	result?: {
		documents?: Array<{ state: string; error?: string }>;
		error?: { message?: string; code?: string };
	};
}

const under_way = (job: Job) => job.status === 'queued' || job.status === 'running';

/** Carrel was restarted, or is too busy just now: worth another look, until the time is over. */
function passing(error: unknown): boolean {
	const code = (error as { httpCode?: string | null }).httpCode;
	return code === null || code === undefined || code === '429' || Number(code) >= 500;
}

/**
 * A key sees documents when they can be found, not before: a job tells when their reading has ended. A job that a restart
 * of Carrel ended is made anew.
 */
async function waitFor(
	context: IExecuteFunctions,
	document: string,
	i: number,
): Promise<IDataObject> {
	const seconds = context.getNodeParameter('timeout', i, 300) as number;
	const end = Date.now() + seconds * 1000;
	let job: Job | undefined;
	let state: { state: string; error?: string } | undefined;
	for (;;) {
		const timeout = Math.max(1000, end - Date.now());
		try {
			job =
				job === undefined
					? await carrelRequest<Job>(
							context,
							'POST',
							'/api/jobs',
							{ ingest: { documents: [document] } },
							{ timeout },
						)
					: await carrelRequest<Job>(context, 'GET', `/api/jobs/${job.id}`, undefined, { timeout });
			if (job.result?.error?.code === 'interrupted') {
				job = undefined;
			} else if (!under_way(job)) {
				state = job.result?.documents?.[0];
				break;
			}
		} catch (error) {
			if (!passing(error) || Date.now() >= end) {
				throw new NodeApiError(context.getNode(), error as JsonObject);
			}
		}
		if (Date.now() >= end) {
			if (job !== undefined) {
				await carrelRequest(context, 'DELETE', `/api/jobs/${job.id}`).catch(() => undefined);
			}
			throw new NodeOperationError(
				context.getNode(),
				`The document ${document} is not ready after ${seconds} s`,
				{
					itemIndex: i,
					description: 'It is read on all the same. Raise the timeout, or come back later with Wait Until Ingested.',
				},
			);
		}
		await sleep(Math.min(POLL_MS, Math.max(50, end - Date.now())));
	}
	if (state?.state === 'deleted') {
		throw new NodeOperationError(context.getNode(), `There is no document ${document}`, {
			itemIndex: i,
			description: 'It was deleted, or the key may not read it (the groups of the key, the readers of the folder).',
		});
	}
	if (state?.state !== 'ready') {
		const why = state?.error ?? job.result?.error?.message ?? state?.state ?? job.status;
		throw new NodeOperationError(
			context.getNode(),
			`The document ${document} could not be read: ${why}`,
			{ itemIndex: i },
		);
	}
	return await carrelRequest(context, 'GET', `/api/documents/${document}`);
}

/** The file as n8n keeps it: a stream from its store; what it has in memory anyway, as it is. */
async function contentOf(context: IExecuteFunctions, property: string, i: number) {
	const binary = context.helpers.assertBinaryData(i, property);
	const headers: IDataObject = { 'Content-Type': binary.mimeType || 'application/octet-stream' };
	if (binary.id === undefined) {
		return { binary, headers, data: await context.helpers.getBinaryDataBuffer(i, property) };
	}
	const { fileSize } = await context.helpers.getBinaryMetadata(binary.id);
	headers['Content-Length'] = String(fileSize);
	return { binary, headers, data: await context.helpers.getBinaryStream(binary.id) };
}

async function ingest(context: IExecuteFunctions, i: number): Promise<IDataObject> {
	const property = required(context, 'binaryProperty', 'Input Binary Field', i);
	const { binary, headers, data } = await contentOf(context, property, i);
	const path = text(context, 'path', i) || binary.fileName || '';
	if (path === '') {
		throw new NodeOperationError(context.getNode(), 'The file has no name: give a path', {
			itemIndex: i,
		});
	}
	const query = [
		`path=${encodeURIComponent(path)}`,
		`replace=${context.getNodeParameter('replace', i, true) ? 'true' : 'false'}`,
	];
	const job = context.getNodeParameter('asJob', i, false) as boolean;
	if (job) {
		const options = context.getNodeParameter('jobOptions', i, {}) as IDataObject;
		headers.Prefer = 'respond-async';
		if (options.callbackUrl) {
			query.push(`callback_url=${encodeURIComponent(String(options.callbackUrl))}`);
		}
	}
	const reply = await carrelRequest<{ documents?: IDataObject[] } & IDataObject>(
		context,
		'POST',
		`/api/documents?${query.join('&')}`,
		data,
		{ headers },
	);
	const document = !job && reply.documents ? reply.documents[0] : reply;
	return !job && context.getNodeParameter('wait', i, false)
		? await waitFor(context, String(document.id), i)
		: document;
}

/** Page by page, so that neither side holds more than one. */
async function list(context: IExecuteFunctions, i: number): Promise<IDataObject[]> {
	const filters = context.getNodeParameter('filters', i, {}) as IDataObject;
	const parts: string[] = [];
	for (const name of ['collection', 'state']) {
		if (filters[name]) {
			parts.push(`${name}=${encodeURIComponent(String(filters[name]))}`);
		}
	}
	const most = context.getNodeParameter('returnAll', i, false)
		? Infinity
		: (context.getNodeParameter('limit', i, 50) as number);
	const all: IDataObject[] = [];
	while (all.length < most) {
		const limit = Math.min(PAGE, most - all.length);
		const after = all.length > 0 ? [`after=${String(all[all.length - 1].id)}`] : [];
		const reply = await carrelRequest<{ documents: IDataObject[] }>(
			context,
			'GET',
			`/api/documents?${[...parts, `limit=${limit}`, ...after].join('&')}`,
		);
		all.push(...reply.documents);
		if (reply.documents.length < limit) {
			break;
		}
	}
	return all;
}

export const operations: Record<string, Record<string, Operation>> = {
	answer: { ask },
	passage: { search },
	document: {
		ingest,
		getAll: list,
		get: async (context, i) =>
			await carrelRequest(context, 'GET', `/api/documents/${id(context, 'documentId', i)}`),
		delete: async (context, i) =>
			await carrelRequest(context, 'DELETE', `/api/documents/${id(context, 'documentId', i)}`),
		wait: async (context, i) => await waitFor(context, id(context, 'documentId', i), i),
	},
	job: {
		get: async (context, i) =>
			await carrelRequest(context, 'GET', `/api/jobs/${id(context, 'jobId', i)}`),
		cancel: async (context, i) =>
			await carrelRequest(context, 'DELETE', `/api/jobs/${id(context, 'jobId', i)}`),
	},
};
