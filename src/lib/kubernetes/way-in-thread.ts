// The thread that loads Kubernetes' client library, answers one question and ends.
import { parentPort, workerData } from 'node:worker_threads';

import type { ClusterAccess } from './kubeconfig.js';
import { answerWayIn } from './way-in.js';

parentPort?.postMessage(await answerWayIn(workerData as ClusterAccess));
