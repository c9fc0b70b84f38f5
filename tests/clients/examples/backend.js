// Offers the procedure com.myapp.add2 and says hello to com.myapp.hello every second.
//
//   npm install autobahn
//   node backend.js [ws://127.0.0.1:8080/ws]

const autobahn = require('autobahn');

const connection = new autobahn.Connection({
  url: process.argv[2] ?? 'ws://127.0.0.1:8080/ws',
  realm: 'realm1',
});

let greeting;

connection.onopen = async (session) => {
  await session.register('com.myapp.add2', ([a, b]) => a + b);
  console.log('registered com.myapp.add2');

  let count = 0;
  greeting = setInterval(() => {
    count += 1;
    session.publish('com.myapp.hello', [`Hello from JavaScript, number ${count}`]);
  }, 1000);
};

connection.onclose = () => clearInterval(greeting);

connection.open();
