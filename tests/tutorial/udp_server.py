# 教程里的 UDP 服务器，照教程原样的朴素写法；教程把主机和端口写死在代码里，这里改为从命令行读取。
import socket
import sys

HOST, PORT = sys.argv[1], int(sys.argv[2])

server_socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server_socket.bind((HOST, PORT))
print(f"服务器已启动，监听 {HOST}:{server_socket.getsockname()[1]}", flush=True)

while True:
    data, client_address = server_socket.recvfrom(1024)
    message = data.decode("utf-8")
    if message == "exit":
        print(f"客户端 {client_address} 要求退出", flush=True)
        break
    print(f"收到来自 {client_address} 的消息: {message}", flush=True)
    server_socket.sendto("服务器已收到消息".encode("utf-8"), client_address)

server_socket.close()
