import { config } from '@n8n/node-cli/eslint';

export default [
	...config,
	{
		// MIT is asked of nodes that n8n verifies; this one has the licence of the whole.
		files: ['package.json'],
		rules: {
			'n8n-nodes-base/community-package-json-license-not-default': 'off',
			// It comes with Carrel and is published nowhere: there is no page and no address to name, and its guide is README.md.
			'@n8n/community-nodes/require-homepage': 'off',
			'@n8n/community-nodes/valid-author': 'off',
		},
	},
	{
		files: ['credentials/**/*.ts'],
		rules: { 'n8n-nodes-base/cred-class-field-documentation-url-missing': 'off' },
	},
];
