import { config } from '@n8n/node-cli/eslint';

export default [
	...config,
	{
		// MIT is asked of nodes that n8n verifies; this one has the licence of the whole.
		files: ['package.json'],
		rules: { 'n8n-nodes-base/community-package-json-license-not-default': 'off' },
	},
];
