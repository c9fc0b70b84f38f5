// Calls com.myapp.add2 and prints what is said to com.myapp.hello; start backend.js or backend.py first.
//
//   npm install autobahn
//   node frontend.js [ws://127.0.0.1:8080/ws]

const autobahn = require('autobahn');

const connection = new autobahn.Connection({
  url: process.argv[2] ?? 'ws://127.0.0.1:8080/ws',
  realm: 'realm1',
});

connection.onopen = async (session) => {
  await session.subscribe('com.myapp.hello', ([greeting]) => console.log('event:', greeting));
  console.log('2 + 3 =', await session.call('com.myapp.add2', [2, 3]));
};

connection.open();
