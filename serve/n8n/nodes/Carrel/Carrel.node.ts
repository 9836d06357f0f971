import type {
	IDataObject,
	IExecuteFunctions,
	INodeExecutionData,
	INodeType,
	INodeTypeDescription,
} from 'n8n-workflow';
import { NodeApiError, NodeConnectionTypes, NodeOperationError } from 'n8n-workflow';

import { properties } from './descriptions';
import { operations } from './operations';

export class Carrel implements INodeType {
	description: INodeTypeDescription = {
		displayName: 'Carrel',
		name: 'carrel',
		icon: { light: 'file:../../icons/carrel.svg', dark: 'file:../../icons/carrel.dark.svg' },
		group: ['transform'],
		version: 1,
		subtitle: '={{$parameter["operation"] + ": " + $parameter["resource"]}}',
		description: 'Ask and search your own documents, with citations; put documents in',
		defaults: { name: 'Carrel' },
		usableAsTool: true,
		inputs: [NodeConnectionTypes.Main],
		outputs: [NodeConnectionTypes.Main],
		credentials: [{ name: 'carrelApi', required: true }],
		properties,
	};

	async execute(this: IExecuteFunctions): Promise<INodeExecutionData[][]> {
		const items = this.getInputData();
		const out: INodeExecutionData[] = [];
		for (let i = 0; i < items.length; i++) {
			try {
				const resource = this.getNodeParameter('resource', i) as string;
				const operation = this.getNodeParameter('operation', i) as string;
				const run = operations[resource]?.[operation];
				if (run === undefined) {
					throw new NodeOperationError(this.getNode(), `There is no ${resource}: ${operation}`, {
						itemIndex: i,
					});
				}
				const result = await run(this, i);
				for (const json of Array.isArray(result) ? result : [result]) {
					out.push({ json, pairedItem: { item: i } });
				}
			} catch (error) {
				const told =
					error instanceof NodeOperationError || error instanceof NodeApiError
						? error
						: new NodeOperationError(this.getNode(), error as Error);
				told.context.itemIndex = i;
				if (!this.continueOnFail()) {
					throw told;
				}
				const json: IDataObject = { error: told.message };
				if (told.description) {
					json.message = told.description;
				}
				out.push({ json, pairedItem: { item: i } });
			}
		}
		return [out];
	}
}
