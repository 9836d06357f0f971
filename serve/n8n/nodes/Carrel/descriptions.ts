import type { INodeProperties } from 'n8n-workflow';

const show = (resource: string, ...operation: string[]) => ({
	show: { resource: [resource], operation },
});

const operations = (
	resource: string,
	fallback: string,
	options: INodeProperties['options'],
): INodeProperties => ({
	displayName: 'Operation',
	name: 'operation',
	type: 'options',
	noDataExpression: true,
	displayOptions: { show: { resource: [resource] } },
	options,
	default: fallback,
});

export const properties: INodeProperties[] = [
	{
		displayName: 'Resource',
		name: 'resource',
		type: 'options',
		noDataExpression: true,
		options: [
			{ name: 'Answer', value: 'answer' },
			{ name: 'Document', value: 'document' },
			{ name: 'Job', value: 'job' },
			{ name: 'Passage', value: 'passage' },
		],
		default: 'answer',
	},

	operations('answer', 'ask', [
		{
			name: 'Ask',
			value: 'ask',
			description: 'Answer a question from the documents, with citations',
			action: 'Ask a question',
		},
	]),
	operations('passage', 'search', [
		{
			name: 'Search',
			value: 'search',
			description: 'Find the passages that fit a query best',
			action: 'Search passages',
		},
	]),
	operations('document', 'ingest', [
		{
			name: 'Delete',
			value: 'delete',
			description: 'Take a document out of search and into the trash',
			action: 'Delete a document',
		},
		{
			name: 'Get',
			value: 'get',
			description: 'Get what is known of a document',
			action: 'Get a document',
		},
		{
			name: 'Get Many',
			value: 'getAll',
			description: 'List documents',
			action: 'Get many documents',
		},
		{
			name: 'Ingest',
			value: 'ingest',
			description: 'Put a file in',
			action: 'Ingest a file',
		},
		{
			name: 'Wait Until Ingested',
			value: 'wait',
			description: 'Wait until a document can be found, or failed',
			action: 'Wait until a document is ingested',
		},
	]),
	operations('job', 'get', [
		{
			name: 'Cancel',
			value: 'cancel',
			description: 'End a job that is under way',
			action: 'Cancel a job',
		},
		{
			name: 'Get',
			value: 'get',
			description: 'Get a job, and its result when it is over',
			action: 'Get a job',
		},
	]),

	{
		displayName: 'Question',
		name: 'question',
		type: 'string',
		typeOptions: { rows: 3 },
		default: '',
		required: true,
		displayOptions: show('answer', 'ask'),
	},
	{
		displayName: 'As a Job',
		name: 'asJob',
		type: 'boolean',
		default: false,
		description:
			'Whether to return at once with a job, to be fetched by Job → Get, for answers that take longer than n8n waits',
		displayOptions: show('answer', 'ask'),
	},
	{
		displayName: 'As a Job',
		name: 'asJob',
		type: 'boolean',
		default: false,
		description:
			'Whether to return at once with a job, to be fetched by Job → Get, or to be posted to a callback URL when the document has been read',
		displayOptions: show('document', 'ingest'),
	},
	{
		displayName: 'Query',
		name: 'query',
		type: 'string',
		default: '',
		required: true,
		displayOptions: show('passage', 'search'),
	},
	{
		displayName: 'Limit',
		name: 'limit',
		type: 'number',
		typeOptions: { minValue: 1, maxValue: 100 },
		default: 50,
		description: 'Max number of results to return',
		displayOptions: { show: { resource: ['passage'], operation: ['search'] } },
	},
	{
		displayName: 'Options',
		name: 'options',
		type: 'collection',
		placeholder: 'Add option',
		default: {},
		displayOptions: { show: { resource: ['answer', 'passage'], operation: ['ask', 'search'] } },
		options: [
			{
				displayName: 'Callback URL',
				name: 'callbackUrl',
				type: 'string',
				default: '',
				description:
					'With As a Job: where the job is posted when it is over, such as {{ $execution.resumeUrl }} for a Wait node. Its origin must be in webhooks.allow.',
			},
			{
				displayName: 'Collection',
				name: 'collection',
				type: 'string',
				default: '',
				description: 'Only documents of this one; empty: of all that the key may read',
			},
			{
				displayName: 'Instructions',
				name: 'instructions',
				type: 'string',
				typeOptions: { rows: 3 },
				default: '',
				description: 'Said to the model before the question (not when searching)',
			},
		],
	},

	{
		displayName: 'Input Binary Field',
		name: 'binaryProperty',
		type: 'string',
		default: 'data',
		required: true,
		hint: 'The name of the input field with the file',
		displayOptions: show('document', 'ingest'),
	},
	{
		displayName: 'Path',
		name: 'path',
		type: 'string',
		default: '',
		placeholder: 'contracts/2026/lease.pdf',
		description:
			'Where it goes below the watched folder: collection/name. Empty: the name of the file.',
		displayOptions: show('document', 'ingest'),
	},
	{
		displayName: 'Replace',
		name: 'replace',
		type: 'boolean',
		default: true,
		description: 'Whether a document that is there under the same path is replaced. While rules say who reads what, that takes an administrator\'s key; other keys put in new documents only.',
		displayOptions: show('document', 'ingest'),
	},
	{
		displayName: 'Wait Until Ingested',
		name: 'wait',
		type: 'boolean',
		default: false,
		description: 'Whether to go on only when the document can be found',
		displayOptions: { show: { resource: ['document'], operation: ['ingest'], asJob: [false] } },
	},
	{
		displayName: 'Job Options',
		name: 'jobOptions',
		type: 'collection',
		placeholder: 'Add option',
		default: {},
		displayOptions: { show: { resource: ['document'], operation: ['ingest'], asJob: [true] } },
		options: [
			{
				displayName: 'Callback URL',
				name: 'callbackUrl',
				type: 'string',
				default: '',
				placeholder: '={{ $execution.resumeUrl }}',
				description:
					'Where the job is posted when it is over, such as the resume URL of a Wait node. Its origin must be in webhooks.allow.',
			},
		],
	},
	{
		displayName: 'Document ID',
		name: 'documentId',
		type: 'string',
		default: '',
		required: true,
		displayOptions: show('document', 'delete', 'get', 'wait'),
	},
	{
		displayName: 'Timeout',
		name: 'timeout',
		type: 'number',
		typeOptions: { minValue: 1, maxValue: 86400 },
		default: 300,
		description: 'Seconds to wait for the document',
		displayOptions: { show: { resource: ['document'], operation: ['wait', 'ingest'] }, hide: { asJob: [true] } },
	},
	{
		displayName: 'Return All',
		name: 'returnAll',
		type: 'boolean',
		default: false,
		description: 'Whether to return all results or only up to a given limit',
		displayOptions: show('document', 'getAll'),
	},
	{
		displayName: 'Limit',
		name: 'limit',
		type: 'number',
		typeOptions: { minValue: 1 },
		default: 50,
		description: 'Max number of results to return',
		displayOptions: { show: { resource: ['document'], operation: ['getAll'], returnAll: [false] } },
	},
	{
		displayName: 'Filters',
		name: 'filters',
		type: 'collection',
		placeholder: 'Add filter',
		default: {},
		displayOptions: show('document', 'getAll'),
		options: [
			{
				displayName: 'Collection',
				name: 'collection',
				type: 'string',
				default: '',
			},
			{
				displayName: 'State',
				name: 'state',
				type: 'options',
				options: [
					{ name: 'Failed', value: 'failed' },
					{ name: 'Queued', value: 'queued' },
					{ name: 'Ready', value: 'ready' },
					{ name: 'Working', value: 'working' },
				],
				default: 'ready',
			},
		],
	},

	{
		displayName: 'Job ID',
		name: 'jobId',
		type: 'string',
		default: '',
		required: true,
		displayOptions: show('job', 'get', 'cancel'),
	},
];
