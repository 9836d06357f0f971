import type { IDataObject, IExecuteFunctions } from 'n8n-workflow';
import { NodeOperationError, sleep } from 'n8n-workflow';

import { carrelRequest } from './request';

const POLL_MS = 1000;

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

/** An id becomes part of a path: it must be one. */
function id(context: IExecuteFunctions, name: string, i: number): string {
	const value = text(context, name, i).trim();
	if (!/^[A-Za-z0-9_-]{1,100}$/.test(value)) {
		throw new NodeOperationError(context.getNode(), `"${value}" is not an ID`, { itemIndex: i });
	}
	return value;
}

async function ask(context: IExecuteFunctions, i: number): Promise<IDataObject> {
	const options = context.getNodeParameter('options', i, {}) as IDataObject;
	const messages: IDataObject[] = [];
	if (options.instructions) {
		messages.push({ role: 'system', content: options.instructions });
	}
	messages.push({ role: 'user', content: text(context, 'question', i) });
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
		query: text(context, 'query', i),
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
	result?: { documents?: Array<{ state: string; error?: string }>; error?: { message?: string } };
}

/** A key sees documents when they can be found, not before: a job tells when their reading has ended. */
async function waitFor(
	context: IExecuteFunctions,
	document: string,
	i: number,
): Promise<IDataObject> {
	const seconds = context.getNodeParameter('timeout', i, 300) as number;
	const end = Date.now() + seconds * 1000;
	let job = await carrelRequest<Job>(context, 'POST', '/api/jobs', {
		ingest: { documents: [document] },
	});
	while (job.status === 'queued' || job.status === 'running') {
		if (Date.now() >= end) {
			await carrelRequest(context, 'DELETE', `/api/jobs/${job.id}`);
			throw new NodeOperationError(
				context.getNode(),
				`The document ${document} is not ready after ${seconds} s`,
				{ itemIndex: i },
			);
		}
		await sleep(POLL_MS);
		job = await carrelRequest<Job>(context, 'GET', `/api/jobs/${job.id}`);
	}
	const state = job.result?.documents?.[0];
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

async function ingest(context: IExecuteFunctions, i: number): Promise<IDataObject> {
	const property = text(context, 'binaryProperty', i);
	const binary = context.helpers.assertBinaryData(i, property);
	const data = await context.helpers.getBinaryDataBuffer(i, property);
	const path = text(context, 'path', i) || binary.fileName || '';
	if (path === '') {
		throw new NodeOperationError(context.getNode(), 'The file has no name: give a path', {
			itemIndex: i,
		});
	}
	const query = `path=${encodeURIComponent(path)}&replace=${context.getNodeParameter('replace', i, true) ? 'true' : 'false'}`;
	const reply = await carrelRequest<string | IDataObject>(
		context,
		'POST',
		`/api/documents?${query}`,
		data,
		{ headers: { 'Content-Type': binary.mimeType || 'application/octet-stream' } },
	);
	const parsed = (typeof reply === 'string' ? JSON.parse(reply) : reply) as {
		documents?: IDataObject[];
	} & IDataObject;
	const document = parsed.documents ? parsed.documents[0] : parsed;
	return context.getNodeParameter('wait', i, false)
		? await waitFor(context, String(document.id), i)
		: document;
}

async function list(context: IExecuteFunctions, i: number): Promise<IDataObject[]> {
	const filters = context.getNodeParameter('filters', i, {}) as IDataObject;
	const parts: string[] = [];
	for (const name of ['collection', 'state']) {
		if (filters[name]) {
			parts.push(`${name}=${encodeURIComponent(String(filters[name]))}`);
		}
	}
	if (!context.getNodeParameter('returnAll', i, false)) {
		parts.push(`limit=${String(context.getNodeParameter('limit', i, 50))}`);
	}
	const reply = await carrelRequest<{ documents: IDataObject[] }>(
		context,
		'GET',
		`/api/documents${parts.length > 0 ? `?${parts.join('&')}` : ''}`,
	);
	return reply.documents;
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
