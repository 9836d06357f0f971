import type {
	IAuthenticateGeneric,
	Icon,
	ICredentialTestRequest,
	ICredentialType,
	INodeProperties,
} from 'n8n-workflow';

export class CarrelApi implements ICredentialType {
	name = 'carrelApi';

	displayName = 'Carrel API';

	icon: Icon = { light: 'file:../icons/carrel.svg', dark: 'file:../icons/carrel.dark.svg' };

	properties: INodeProperties[] = [
		{
			displayName: 'Address',
			name: 'url',
			type: 'string',
			default: 'http://localhost:8642',
			placeholder: 'https://carrel.example.org',
			description: 'Where Carrel answers, without /v1 (that is for the OpenAI nodes)',
			required: true,
		},
		{
			displayName: 'API Key',
			name: 'apiKey',
			type: 'string',
			typeOptions: { password: true },
			default: '',
			description:
				'A key of role service: carrel key create n8n --role service --groups ... Scope manage is needed to delete documents and for the trigger.',
			required: true,
		},
	];

	authenticate: IAuthenticateGeneric = {
		type: 'generic',
		properties: {
			headers: {
				Authorization: '=Bearer {{$credentials.apiKey}}',
			},
		},
	};

	test: ICredentialTestRequest = {
		request: {
			baseURL: '={{$credentials.url.trim().replace(/\\/+$/, "").replace(/\\/v1$/, "")}}',
			url: '/v1/models',
		},
	};
}
