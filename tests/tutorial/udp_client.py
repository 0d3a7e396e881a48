# 教程里的 UDP 客户端，照教程原样的朴素写法；教程把主机和端口写死在代码里，这里改为从命令行读取。
import socket
import sys

HOST, PORT = sys.argv[1], int(sys.argv[2])

client_socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

while True:
    message = input("请输入要发送的消息: ")
    if not message:
        print("消息不能为空", flush=True)
        continue
    client_socket.sendto(message.encode("utf-8"), (HOST, PORT))
    if message == "exit":
        break
    data, server_address = client_socket.recvfrom(1024)
    print(f"服务器回复: {data.decode('utf-8')}", flush=True)

client_socket.close()
print("连接已关闭", flush=True)
