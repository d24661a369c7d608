/**
 * The page of one user who is logged in: the list of conversations, the open one, and the connection they share. Built
 * at the login, closed at its end; nothing of it outlives the user.
 */

import { adviceFor } from "./advice.js";
import { ComposerView } from "./composer_view.js";
import { Connection } from "./connection.js";
import { Conversation } from "./conversation.js";
import { byId, h, setText } from "./dom.js";
import { Outbox } from "./outbox.js";
import { OutboxView } from "./outbox_view.js";
import { StatusView } from "./status_view.js";
import { ThreadList } from "./thread_list.js";
import { ThreadsView } from "./threads_view.js";
import { Titles } from "./titles.js";
import { TranscriptView } from "./transcript_view.js";
